// Package registrytest runs a registry for tests: over TLS, with the blobs of
// each repository apart, cross-repository mounts, logins, and faults on demand.
// It keeps everything in memory and ends with the test.
package registrytest
