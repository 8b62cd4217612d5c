// Package imagestore keeps unpacked images on a volume, for builds to come.
//
// Each image is a store of buildah's by itself, in a directory that is filled under a
// name of its own and then renamed. So what is found is complete, whatever was killed
// while it was made, and nobody writes to it any more: builds read it beside their own
// stores, by a mount that is read-only where steps run. An image is held for as long as the
// build that found it may take, and removed no earlier.
//
//	machine-os-builder-1/lock              taken for a moment by whoever looks, holds, or renames
//	machine-os-builder-1/<key>             an image: its store, and the file until
//	machine-os-builder-1/filling-<key>-*   one that is not complete
//	machine-os-builder-1/gone-*            one that is being removed
//
// The time at which until was last changed is the one until which the image is held.
package imagestore
