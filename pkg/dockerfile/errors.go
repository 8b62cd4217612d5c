package dockerfile

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one thing wrong in a Dockerfile. Line counts from 1 in the text
// that was given to Parse; 0 means the text as a whole.
type Problem struct {
	Line    int
	Message string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Message
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.Message)
}

// LintError is every problem of one Dockerfile, by line.
type LintError struct {
	Problems []Problem
}

// Error implements error: "line 3: …; line 9: …".
func (e *LintError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, problem := range e.Problems {
		texts[i] = problem.String()
	}
	return strings.Join(texts, "; ")
}

// problems collects while linting.
type problems []Problem

func (p *problems) addf(line int, format string, args ...any) {
	*p = append(*p, Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

// err returns nil when nothing was found.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	sort.SliceStable(p, func(i, j int) bool { return p[i].Line < p[j].Line })
	return &LintError{Problems: p}
}
