package redact

import (
	"regexp"
	"slices"
	"strings"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// shortest is the length below which a known secret is left alone: to hide "a"
// would leave no text, and hide nothing.
const shortest = 4

// rule finds what looks like a credential; its first group, if any, stays.
type rule struct {
	pattern *regexp.Regexp
	with    string
}

// rules are in the order they are applied.
var rules = []rule{
	// HTTP headers (RFC 9110, section 11): the scheme stays.
	{regexp.MustCompile(`(?i)((?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|digest|negotiate)\s+)?)[^\s"']+`), "${1}" + Mark},
	{regexp.MustCompile(`(?i)(\bbearer\s+)[\w.~+/=-]{16,}`), "${1}" + Mark},
	// User information of a URL (RFC 3986, section 3.2.1).
	{regexp.MustCompile(`(\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/"']+@`), "${1}" + Mark + "@"},
	// Members of a registry's auth file (containers-auth.json).
	{regexp.MustCompile(`(?i)("(?:auth|identitytoken|registrytoken|password|secret|token)"\s*:\s*")[^"]*`), "${1}" + Mark},
	// Assignments, as in environments and command lines.
	{regexp.MustCompile(`(?i)([\w.-]*(?:passw(?:or)?d|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)[\w.-]*\s*[=:]\s*["']?)[^\s"',;]+`), "${1}" + Mark},
	// Signatures of URLs, as object stores that registries redirect to have them.
	{regexp.MustCompile(`(?i)([?&][\w.-]*(?:signature|credential|sig)=)[^\s"'&]+`), "${1}" + Mark},
	// JSON web tokens (RFC 7519).
	{regexp.MustCompile(`\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*`), Mark},
}

// Redactor hides secrets. The zero value and nil hide what looks like one.
type Redactor struct {
	known *strings.Replacer
}

// New returns a Redactor that hides the given secrets wherever they stand.
func New(secrets ...string) *Redactor {
	secrets = slices.Clone(secrets)
	for i := range secrets {
		secrets[i] = clean(secrets[i])
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < shortest })
	// Of two that begin alike the longer one is hidden whole.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		pairs = append(pairs, s, Mark)
	}
	return &Redactor{known: strings.NewReplacer(pairs...)}
}

// Text returns a text without secrets, and without what moves a terminal. It
// may have several lines.
func (r *Redactor) Text(text string) string {
	lines := hideKeys(strings.Split(r.hideKnown(text), "\n"))
	return hideLikely(strings.Join(lines, "\n"))
}

// Lines returns lines without secrets, and without what moves a terminal. One
// that holds several becomes as many. A private key becomes one line.
func (r *Redactor) Lines(lines []string) []string {
	if lines == nil {
		return nil
	}
	out := make([]string, 0, len(lines))
	for _, line := range lines {
		out = append(out, strings.Split(r.hideKnown(line), "\n")...)
	}
	out = hideKeys(out)
	for i, line := range out {
		out[i] = hideLikely(line)
	}
	return out
}

func (r *Redactor) hideKnown(text string) string {
	text = clean(text)
	if r != nil && r.known != nil {
		text = r.known.Replace(text)
	}
	return text
}

func hideLikely(text string) string {
	for _, rule := range rules {
		text = rule.pattern.ReplaceAllString(text, rule.with)
	}
	return text
}
