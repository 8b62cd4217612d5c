// Package process is what the commands that run controllers have in common: the flags
// about the API server, health, metrics and the leader lease, and a life from start to
// SIGTERM in which the work runs while the lease is held.
package process
