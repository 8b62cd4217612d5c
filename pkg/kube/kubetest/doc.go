// Package kubetest is what tests of controllers need of client-go's fake clients.
package kubetest
