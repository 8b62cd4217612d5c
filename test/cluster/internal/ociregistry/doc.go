// Package ociregistry pushes an image that lies as an OCI layout on disk to a registry, blob by blob as it is: the layers were
// compressed once, when the layout was made.
package ociregistry
