// Package steplog writes the log of a container of a build for somebody who follows
// it, by the step.
package steplog
