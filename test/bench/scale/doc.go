// Command scale measures the controller's own program with many pools, and the
// executor's with many Builds, on a
// real API server with a scripted kubelet and a registry of its own, and writes
// what it found between its markers of docs/dev/benchmarks.md, which says how
// each figure is taken. It needs no cluster and no root.
//
// It fails when a pool ends with another image than the one that was built for
// it, when a config is built twice, or when more builds run than the limit.
package main
