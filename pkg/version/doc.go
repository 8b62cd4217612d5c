// Package version holds the version that the build puts into the binaries.
package version

// Version is set by the linker (-X); a plain go build leaves this.
var Version = "devel"
