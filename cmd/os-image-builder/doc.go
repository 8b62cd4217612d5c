// Command os-image-builder makes an OS image inside a build pod: it lays a
// MachineConfig into a base image and pushes the result. Its commands are the
// steps of package imagebuilder, one for each container of the pod; each writes
// a buildspec.Result as its container's termination message, and exits with 0
// or 1.
package main
