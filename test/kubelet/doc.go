// Package kubelet plays the part of the scheduler and of every node's kubelet
// for build pods on a real API server: it takes each pod through its phases by
// a script, pushes a real image into a real registry as the builder would, and
// confirms the deletion of pods that were asked to go. It learns of pods by a
// watch and keeps one goroutine for each, so that thousands may live at once.
package kubelet
