// Command crds writes the CustomResourceDefinitions in manifests/crds, and that of
// Build in manifests/builds/crd, from the Go types of github.com/openshift/api, in
// the version that the product's own module requires: "make generate" runs it,
// "make verify" runs it again and fails when a file changes.
//
// OpenShift brings these definitions itself. They are for clusters that have
// none: plain Kubernetes and the clusters of the tests. They hold every field
// of the types, those behind an OpenShift feature gate included.
package main
