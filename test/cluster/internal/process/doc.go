// Package process starts the cluster's daemons in sessions of their own, remembers each by a pid file that holds its start time
// and the machine's boot id, and stops only what such a file proves to be the same process. A pid alone proves nothing: the
// number may have been given to somebody else since.
package process
