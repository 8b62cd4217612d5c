// Package manifests checks what a user installs: that every kustomization
// builds, that one file holds one object, that the Deployment meets the
// restricted Pod Security level, that no role has a wildcard, that
// monitoring finds the controller and each alert its runbook, and that the
// generated definitions have what the controller and its users count on.
package manifests
