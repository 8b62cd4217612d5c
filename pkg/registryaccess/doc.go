// Package registryaccess is how the containers of a build reach registries: it reads
// the credentials, certificates, mirrors and proxies that are mounted there, and
// makes the clients for both directions of them.
package registryaccess
