// Package executor decides what becomes of a Build of build.openshift.io/v1: what
// is wrong with it, when its pod is made, and what its status says. Values go in,
// among them the time, and values come out; package controller/executor carries
// them out.
//
// Phases, reasons and messages are those of OpenShift's build controller, whose
// API this is (openshift/api, build/v1, and the texts that its clients show):
//
//	""      ─▶ New ─▶ Pending ─▶ Running ─▶ Complete
//	            │        │          ├─────▶ Failed     the build went wrong
//	            ├────────┴──────────┼─────▶ Error      something around it did
//	            └────────────────────────▶ Cancelled
//
// Nothing leads out of the last four, nor back from one to the one before. A Build
// whose phase is none of these counts as ended and is left alone.
//
// Where nobody checks a Build when it is created, as with a custom resource,
// validate does, and what it finds ends the Build.
package executor
