// Package buildahtest has a program in buildah's place, for tests of how it is called.
package buildahtest
