// Package registriesconf knows which mirrors an image is pulled from: it reads
// containers-registries.conf(5), version 2 of the format, and takes in
// OpenShift's ImageDigestMirrorSets and ImageTagMirrorSets
// (config.openshift.io/v1), which say the same in objects.
//
// Of that file the tables [[registry]] and [[registry.mirror]] count. What is
// about short names and credential helpers is passed over, since images have
// full names here and credentials come from Secrets. insecure is refused:
// nothing of this product goes without TLS.
package registriesconf
