// Package gitaddress reads the address of a git repository that a Build names: by what
// it can be reached, and which login it has.
package gitaddress
