// Command demo shows the product at work on the cluster of test/cluster: it is
// installed from manifests/, a pool is opted in, and its image is read back
// from the registry; then the same with a custom Dockerfile; then with one that
// fails. Run it with "make demo"; it begins by removing what an earlier run
// left, so it can be run as often as one likes.
package main
