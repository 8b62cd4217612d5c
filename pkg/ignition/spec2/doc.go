// Package spec2 converts Ignition configs of spec 2 to spec 3, with the last v1
// release of Ignition and github.com/coreos/ign-converter.
//
// It is apart from pkg/ignition because of what it links: Ignition 1 calls
// methods by names made at run time, so the linker keeps every method of every
// type, and a Kubernetes client's program grows by half. Who cannot afford that
// runs the program convert-ignition.
package spec2
