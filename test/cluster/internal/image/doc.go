// Package image makes the cluster's images on the spot, without a registry to pull from: a plain Debian from Debian's packages, an
// operating system like base image on top of it, the sandbox image, and the product's own images from the project's
// Dockerfile. Each is made anew only when what it is made of has changed.
package image
