// Package buildah runs the program of that name in the containers of a build: on a
// store that they share, with a login only where something is pulled, and follows
// what it prints.
package buildah
