// Package buildspec describes one image build without saying who runs it:
// Request is what a back-end needs to start it, Result is what a run reports
// of itself. Both sides of the build pod's wall share this package.
package buildspec
