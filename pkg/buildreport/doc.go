// Package buildreport is what a container of a Build's pod tells the executor of
// itself by its termination message: how long its parts took, what it made, or
// why it failed. Both sides of the pod's wall share it.
package buildreport
