// Package conformance is the suite that every builder back-end passes: it says
// in tests what backend.Backend says in words. It knows nothing of how a
// back-end keeps its builds; a Subject plays the cluster's part.
package conformance
