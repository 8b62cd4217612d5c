package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// screen is where the demo writes, a whole line at a time: progress comes from
// several places at once.
type screen struct {
	mu  sync.Mutex
	out io.Writer
}

func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

func (s *screen) heading(text string) {
	s.line("\n── %s %s\n", text, strings.Repeat("─", max(3, 76-len(text))))
}

// command shows what an administrator would type for the step that follows.
func (s *screen) command(text string) {
	s.line("$ %s", text)
}

// indented shows a text of several lines.
func (s *screen) indented(text string) {
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		s.line("    %s", strings.TrimRight(line, "\n"))
	}
}

// at shows what happened so long after the beginning of a part.
func (s *screen) at(since time.Duration, what string) {
	s.line("%6.1f s  %s", since.Seconds(), what)
}

// output shows a line of a build's own output.
func (s *screen) output(container, line string) {
	s.line("          %11s │ %s", container, line)
}
