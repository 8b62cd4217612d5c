// Package poolstatus tells how the machines of a pool stand: which nodes are
// its own (Assign), and its status from theirs (Compute). It knows no API server
// and no clock. It is for clusters without OpenShift's machine-config-controller,
// whose rules these are; conditions and fields of others stay as they are.
//
// # Machines
//
// A node belongs to the control plane's pool, else to a custom one, else to
// worker; a Windows node to none.
//
//	done         desiredConfig = currentConfig and desiredImage = currentImage, state Done
//	updated      done, at the config that the pool targets; in a pool that is opted in
//	             to image builds at the image of that config, too
//	ready        updated, and takes pods
//	degraded     state Degraded or Unreconcilable
//	unavailable  takes no pods; or neither done nor degraded, so that it may stop to at any time
//
// # Conditions
//
//	                every machine updated   some not, paused   some not
//	                and ready
//	Updated         True                    False              False
//	Updating        False                   False              True
//
//	RenderDegraded  the MachineConfigs make no rendered config
//	NodeDegraded    a machine is degraded, or nobody can say to which pool it belongs
//	Degraded        one of these is True, or ImageBuildDegraded, which the build loop writes
//
// status.configuration becomes spec.configuration when Updated does, not before.
// A pool without a rendered config is neither updated nor updating.
package poolstatus
