// Package measure takes the figures of the bench on a running cluster: builds
// followed by watches, the same Dockerfile on two storage drivers in one pod,
// the writes of a controller whose requests are counted, and its memory.
package measure
