// Package integration tests the controllers on a real etcd, kube-apiserver and
// garbage collector, under the ServiceAccount and the rules of the manifests.
// No kubelet runs: the tests play its part. make integration runs it.
package integration
