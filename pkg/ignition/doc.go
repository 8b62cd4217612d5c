// Package ignition reads Ignition configs of every stable spec and hands them
// on in one shape.
//
// It wraps github.com/coreos/ignition/v2 and github.com/coreos/ign-converter:
// no other package of this project imports those, except for the plain types a
// parsed config consists of, which are named here as Config and its parts.
//
//	2.0 - 2.4   parsed by the last v1 release of Ignition, converted to 3.1
//	3.0 - 3.5   parsed and validated by ignition/v2, translated to 3.5
//	otherwise   an error that says what to do
//
// Configs in that shape can be merged and written again: Merge, Encode.
//
// The package opens no file and no connection: what a config refers to by URL
// (ignition.config.merge and .replace) is fetched by a function passed in.
package ignition
