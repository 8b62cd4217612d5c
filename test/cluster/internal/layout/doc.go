// Package layout knows every path of a test cluster: the work directory that holds all of its state, the caches that outlive
// it, and the addresses it uses. It decides nothing and touches no file.
package layout
