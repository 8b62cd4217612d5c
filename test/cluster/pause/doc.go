// Command pause is the process of a pod's sandbox: it holds the pod's namespaces open, takes note of the end of orphaned
// processes and leaves when told to.
package main
