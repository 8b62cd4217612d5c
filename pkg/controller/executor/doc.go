// Package executor is the loop that runs Builds of build.openshift.io/v1 as pods,
// where nobody else does. One key is one Build. The loop gathers what a decision
// needs, lets package pkg/executor decide, and carries that out: it deletes or creates
// the pod, then writes the Build, then tells of it.
//
// It remembers nothing. A pod that was made before the Build knew is found again by its
// name and taken over by its owner reference; a status that was not written is written
// at the next look.
package executor
