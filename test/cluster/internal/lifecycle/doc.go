// Package lifecycle takes the cluster up and down: what has to be there first, the order in which the daemons start, when each
// counts as ready, and the clean-up, which is the same whether a cluster is taken down or another one died here before.
//
//	nothing, or remains of a dead cluster --Up--> clean, start, wait --> running --Down--> clean, nothing
//	running, of the same inputs           --Up--> running (nothing is touched)
//	running, of other inputs or not whole --Up--> clean, start, wait --> running
package lifecycle
