// Package arch holds the project to its architecture: who may import whom, what
// the pure packages may not touch, how large files get, what every package
// brings along, and what lies at the top of the repository.
//
// The rules are tables in rules.go; the tests hold the repository against them
// and each check against small trees that break it. A rule for a package that
// does not exist yet is no error.
package arch
