// Package dockerconfig reads registry credentials out of Kubernetes Secrets of
// both types, kubernetes.io/dockerconfigjson and the legacy
// kubernetes.io/dockercfg, merges them in memory and answers which one belongs
// to a repository, by the rules of containers-auth.json(5).
//
// The package is pure: it gets bytes and returns values. Nothing in it prints a
// credential; errors name registries, fields and byte offsets only.
package dockerconfig
