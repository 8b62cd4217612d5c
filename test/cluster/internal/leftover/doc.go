// Package leftover finds and removes what a cluster leaves on the machine when its processes were killed from outside: processes
// that survived, mounts, control groups, sockets and links outside the work directory. Everything is removed only on proof that it
// belongs to this cluster: a path below the work directory, or membership in the cluster's own control group.
package leftover
