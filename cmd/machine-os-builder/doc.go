// Command machine-os-builder runs the controllers that build the OS images of
// MachineConfigPools, under one leader lease.
package main
