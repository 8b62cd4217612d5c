// Package gitssh tests that pkg/gitsource clones over ssh with the real ssh, from a
// server of its own, which the tests on the cluster use too. It is a module of its own:
// nothing of the product needs the library that the server is made with.
package gitssh
