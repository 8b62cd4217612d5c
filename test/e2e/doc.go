// Package e2e proves the product on a real cluster: it is installed from
// manifests/ as a Deployment, builds in pods, and pushes to real registries.
//
// The tests have the build tag e2e, since they need root and a running cluster:
// "make e2e" starts one. They share the namespace of the contract, so they run
// one after the other, and each begins with nothing in it.
package e2e
