// Package controlplane runs a real etcd, kube-apiserver and
// kube-controller-manager with the garbage collector, with the product's
// manifests applied. No kubelet, scheduler or node is there; package kubelet
// plays their part.
package controlplane
