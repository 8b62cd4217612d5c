// Package ospackages says which packages the extensions and the kernel type of a
// MachineConfig stand for, and refuses what stands for none.
//
// The names are those of OpenShift's machine-config-daemon, so that a
// MachineConfig means the same here. The packages come from an extensions image;
// how they are installed is package dockerfile's.
//
// The package is pure.
package ospackages
