// Package debpkg installs the Debian packages that the cluster needs, when they are missing.
package debpkg
