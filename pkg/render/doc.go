// Package render makes one MachineConfig of those that a pool selects: its
// rendered config. It knows no API server and no clock.
//
//	Select ──▶ Cache.Find, else Read ──▶ Render ──▶ create, or Verify what is there
//	what the    each MachineConfig        the rendered
//	pool takes  once for all pools        config
//
// Whatever cannot be rendered is a *Refusal with a condition's reason and a
// message that says what to do; nothing is rendered by half. That is also what no
// image could be built of: who reads it there cannot tell which MachineConfig it
// came from.
//
// # What wins
//
// MachineConfigs are merged in the order of their names.
//
//	config                          Ignition's own merge, in the newest spec: what a later one says of a path, unit or user counts
//	osImageURL,
//	baseOSExtensionsContainerImage  the last that is set
//	kernelArguments                 all, in order; what is said twice stays twice
//	extensions                      all, sorted, each once
//	fips                            true when any says so
//	kernelType                      the last that is set and not "default", else "default"
//
// These are the rules of OpenShift's machine-config-controller, but for the
// extensions, which it leaves in order and repeats: they are a set, and one that
// moves from a MachineConfig to another is no reason to build an image. As there,
// a file with contents overwrites what the base image has in its place unless
// its config says otherwise; Ignition alone would fail.
//
// # Names
//
// A rendered config is named by its pool and by the content of its spec, so the
// same MachineConfigs lead to the same name, and another content never to one
// that exists. The spec version that pkg/ignition converts to is part of the
// content: a release with a newer one renders every pool anew.
//
// # Forbidden
//
//   - A rendered config is never rendered again: neither one that a pool
//     controls, nor whatever has a name that begins as theirs.
//   - A rendered config that a pool, a node or a build record names is never
//     collected (Collectable).
package render
