// Package api holds, once, every name that users and other controllers see:
// labels, annotations, ConfigMap names and keys, condition types and reasons,
// event reasons and image labels. It has no behaviour.
//
// Names under machineconfiguration.openshift.io are those of OpenShift 4.14's
// on-cluster OS image builds; what this product adds is under
// machineosbuilder.io.
package api
