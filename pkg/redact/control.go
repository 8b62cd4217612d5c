package redact

import (
	"regexp"
	"strings"
	"unicode"
)

// escape finds what moves a terminal (ECMA-48), in its forms of seven and of
// eight bits: control sequences such as colours, strings such as a window's
// title, and at last the short ones.
var escape = regexp.MustCompile(strings.Join([]string{
	`(?:\x1b\[|\x{9b})[0-?]*[ -/]*[@-~]`,
	`(?:\x1b[\]PX^_]|[\x{9d}\x{90}\x{98}\x{9e}\x{9f}])[^\x07\x1b\x{9c}\n]*(?:\x07|\x1b\\|\x{9c})`,
	`\x1b[ -/]*[0-~]`,
}, "|"))

// clean returns a text that a terminal only shows: whoever prints a log must
// not have it rewritten by what a build put there. A secret in two colours
// becomes whole by it, so it comes before everything else.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return -1
		}
		return r // of a byte that is no UTF-8, the replacement character
	}, escape.ReplaceAllString(strings.ToValidUTF8(text, "\uFFFD"), ""))
}
