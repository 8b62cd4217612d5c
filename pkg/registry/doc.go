// Package registry talks to image registries: it resolves and inspects
// pullspecs, appends a layer to an image without pulling it, keeps small
// artifacts beside images, and confirms digests in the background.
//
// Everything goes over TLS, verified by the system's certificates and those
// given; there is no switch to do without. Every error is an *Error of one
// class, for errors.Is: that a registry did not let us look (ErrUnauthorized,
// ErrDenied, ErrRateLimited, ErrUnavailable), or a proxy did not let us get
// there (ErrProxy), is never the same as that it has no such image
// (ErrNotFound).
package registry
