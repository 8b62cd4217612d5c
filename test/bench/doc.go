// Command bench measures the product on the cluster of test/cluster, where it
// is installed from manifests/, and writes what it found between the markers
// of docs/dev/benchmarks.md, which says how each figure is taken. It needs
// root on the machine of the cluster, and for its time the cluster to itself.
package main
