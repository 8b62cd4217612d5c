// Package kube is the way to the API server: clients, informers that hold no
// more than is needed, the credentials that settings name, and the two guarded
// patches of a pool.
package kube
