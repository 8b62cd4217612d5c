// Package names makes the names of build objects and the hashes that identify
// a build's content. It holds nothing else, so that names can be read in one
// place and a change of the hash is a decision, not an accident.
package names
