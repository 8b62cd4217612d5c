// Package podlog reads the ends of what the containers of a build's pod printed.
package podlog
