// Package proxy says which HTTP proxy a request goes through. The settings are
// those of the environment variables that curl, Go and most other programs
// know: a URL for each scheme, and a list of hosts that need none
// (golang.org/x/net/http/httpproxy).
package proxy
