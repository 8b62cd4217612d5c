// Package poolstatus is the loop that tells in a pool's status how its machines
// stand, on clusters without OpenShift's machine-config-controller. What to tell
// is computed by package pkg/poolstatus; this one reads and writes.
//
// It writes the counts, the configuration and the conditions of that package, but
// for RenderDegraded, which is the render loop's; those of builds are the build
// loop's.
package poolstatus
