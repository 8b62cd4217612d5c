// Package live is a running cluster with the product installed on it: it
// finds the cluster, installs the product, makes the objects that an
// administrator makes, and reads what came of them from the API server and
// the registry. The scenarios and the demo stand on it.
package live
