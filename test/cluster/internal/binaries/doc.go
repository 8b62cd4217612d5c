// Package binaries builds the cluster's programs from the Go modules that this module's go.mod names and caches them under a
// directory named by a hash of everything that goes into them, so that a new version is built anew and an unchanged one is not.
// It needs no root.
package binaries
