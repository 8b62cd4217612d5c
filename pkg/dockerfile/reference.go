package dockerfile

import "regexp"

// The grammar of image references, as the OCI distribution specification and
// its reference implementation have it: [host[:port]/]path[:tag][@digest].
var referencePattern = regexp.MustCompile(`^` +
	`(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?` +
	`[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*)*` +
	`(?::[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127})?` +
	`(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?$`)

// ValidReference says whether a name can be an image's at all: then it is one word
// of a Dockerfile, without variables.
func ValidReference(name string) bool {
	return len(name) <= 1024 && referencePattern.MatchString(name)
}
