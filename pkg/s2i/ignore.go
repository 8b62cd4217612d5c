package s2i

import (
	"fmt"
	"path"
	"strings"
)

const ignoreFile = ".s2iignore"

// ignoreRules are the lines of .s2iignore that mean something.
type ignoreRules []ignoreRule

type ignoreRule struct {
	// pattern has a pattern of path.Match for each part of a path in the context dir.
	// One for the path as a whole would let [^a] match a slash.
	pattern []string
	keep    bool
}

// contextRoot stands before patterns while they are cleaned.
const contextRoot = "/context"

// parseIgnore reads the text of .s2iignore: a line is a pattern of path.Match for
// each part of a path from the context dir on, not for names in any folder; "!" takes back what
// lines before it matched; # begins a comment. Spaces around a line are no part of
// it. The error names the line.
func parseIgnore(text string) (ignoreRules, error) {
	var rules ignoreRules
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.Trim(strings.TrimRight(line, "\r\n"), " ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, keep := strings.CutPrefix(line, "!")
		cleaned := path.Join(contextRoot, pattern)
		parts := strings.Split(strings.TrimPrefix(cleaned, contextRoot+"/"), "/")
		for _, part := range parts {
			if _, err := path.Match(part, ""); err != nil {
				return nil, fmt.Errorf("%s:%d: %q is no pattern; \"[\" and \"\\\" have a meaning, and need a \"\\\" before them where they are part of a name", ignoreFile, number, pattern)
			}
		}
		if cleaned == contextRoot && !keep {
			return nil, fmt.Errorf("%s:%d: %q is the source as a whole, of which nothing would be left; use \"*\" and then lines with \"!\"", ignoreFile, number, line)
		}
		// What is outside of the context dir is not copied in any case.
		if strings.HasPrefix(cleaned, contextRoot+"/") {
			rules = append(rules, ignoreRule{pattern: parts, keep: keep})
		}
	}
	return rules, nil
}

// match says whether the rules name a path itself, which is relative to the context
// dir. What is in a folder that they name goes with it.
func (r ignoreRules) match(name string) bool {
	ignored := false
	parts := strings.Split(name, "/")
	for _, rule := range r {
		if rule.keep == ignored && rule.matches(parts) {
			ignored = !rule.keep
		}
	}
	return ignored
}

func (r ignoreRule) matches(parts []string) bool {
	if len(parts) != len(r.pattern) {
		return false
	}
	for i, part := range parts {
		// A pattern that does not parse was refused.
		if matched, _ := path.Match(r.pattern[i], part); !matched {
			return false
		}
	}
	return true
}

// findIgnored reads the source's .s2iignore, if it has one.
func (p *planner) findIgnored() error {
	text, err := p.readSmall(ignoreFile)
	if err != nil {
		return failf(ReasonFileSystemFailed, "%w", err)
	}
	if p.ignored, err = parseIgnore(text); err != nil {
		return failf(ReasonGenericFailed, "%w", err)
	}
	return nil
}

// ignores says whether a path of the context dir, or a folder that it is in, is
// named by .s2iignore.
func (p *planner) ignores(name string) bool {
	for ; name != "."; name = path.Dir(name) {
		if p.ignored.match(name) {
			return true
		}
	}
	return false
}
