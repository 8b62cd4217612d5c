// Package network makes and removes the cluster's network on the node: the pods' bridge with the node's address, and one DNAT
// rule that leads the Service "kubernetes" to the API server. Both carry a mark of the work directory they belong to, and only
// what carries that mark is ever removed.
package network
