// Package pod is the back-end that builds in a pod of its own
// (custom-pod-builder). The first ConfigMap of a build's MachineConfig is its
// root: the pool owns it, it owns the pod and the other inputs, and removing a
// build is one foreground deletion of it. Where steps run for several
// architectures, a run is a pod for each.
package pod
