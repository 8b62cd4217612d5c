// Package inputs keeps what every build has, however it runs: ConfigMaps with its
// MachineConfig and its Dockerfile. The first ConfigMap of the MachineConfig is a
// build's root: the pool owns it, it owns the run and the other inputs, and
// removing a build is one foreground deletion of it.
package inputs
