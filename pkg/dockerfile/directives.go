package dockerfile

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// EscapeFirst moves an escape directive to the top of a Dockerfile, before other
// parser directives. Builders that know no other directive, such as buildah, read
// # syntax= as a comment, and after a comment they look for none. The number of
// every other line stays, except of the directives themselves.
func EscapeFirst(text string) string {
	body, hasMark := strings.CutPrefix(text, byteOrderMark)
	lines := slices.Collect(strings.Lines(body))
	var directives parser.DirectiveParser
	for i, line := range lines {
		directive, err := directives.ParseLine([]byte(strings.TrimSpace(line)))
		if err != nil || directive == nil {
			return text
		}
		if directive.Name != "escape" {
			continue
		}
		if !strings.HasSuffix(line, "\n") {
			return text
		}
		ordered := slices.Concat([]string{line}, lines[:i], lines[i+1:])
		if hasMark {
			return byteOrderMark + strings.Join(ordered, "")
		}
		return strings.Join(ordered, "")
	}
	return text
}
