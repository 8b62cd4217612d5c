// Package handover carries an image from the container in which a user's steps
// ran to the one that has the credential to push it, in a directory of its own.
//
// The directory holds manifest.json, an OCI image manifest, and beside it the
// config and the new layers, compressed, each named by the hex digits of its
// digest. Layers of the base are in the manifest alone.
//
// Receiver writes it. It is a registry on the loopback interface that buildah
// pushes to, and that claims to have the base's layers, so that buildah neither
// compresses nor sends these again.
//
// Where what single steps leave is kept, their images lie beside it: step-<key>.json is
// the manifest of each, and layers are shared.
//
// Open and OpenSteps read it, and take nothing in it on trust: whoever breaks out of a
// step's root can write there what they like.
package handover
