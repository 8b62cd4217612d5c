// Package pki makes a cluster's certificates, keys and tokens on the spot: one CA that signs the API server's, the kubelet
// client's and the registries' certificates, the key of service account tokens, and a static token per component.
package pki
