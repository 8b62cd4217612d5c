package steplog

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Progress writes plain lines for somebody who follows the log: each step when
// it begins, and what came of it with the time it took.
type Progress struct {
	mu      sync.Mutex
	out     io.Writer
	now     func() time.Time
	start   time.Time
	total   int
	number  int
	began   time.Time
	name    string
	timings []buildspec.Timing
}

// NewProgress counts steps up to total. The time comes from now.
func NewProgress(out io.Writer, total int, now func() time.Time) *Progress {
	return &Progress{out: out, total: total, now: now, start: now()}
}

// Now is the time by the clock that measures the steps.
func (p *Progress) Now() time.Time { return p.now() }

// Step begins the next step. The name is the one in the result's timings; the
// text is for people.
func (p *Progress) Step(name, format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number++
	p.name, p.began = name, p.now()
	p.printf("[%d/%d] %s", p.number, p.total, fmt.Sprintf(format, args...))
}

// Done ends the step that was begun last.
func (p *Progress) Done(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := p.now().Sub(p.began).Seconds()
	p.timings = append(p.timings, buildspec.Timing{Name: p.name, Seconds: round(took)})
	p.printf("      %s (%.1f s)", fmt.Sprintf(format, args...), took)
}

// Note prints a line that belongs to the current step.
func (p *Progress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.printf("      %s", fmt.Sprintf(format, args...))
}

// Line passes a line of another tool on.
func (p *Progress) Line(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.printf("%s", line)
}

func (p *Progress) printf(format string, args ...any) {
	// A log that cannot be written is no reason to fail a build.
	_, _ = fmt.Fprintln(p.out, strings.TrimRight(fmt.Sprintf(format, args...), "\n"))
}

// Timings returns what the steps took, and the whole.
func (p *Progress) Timings() []buildspec.Timing {
	p.mu.Lock()
	defer p.mu.Unlock()
	total := buildspec.Timing{Name: "total", Seconds: round(p.now().Sub(p.start).Seconds())}
	return append(append([]buildspec.Timing(nil), p.timings...), total)
}

func round(seconds float64) float64 { return float64(int64(seconds*1000+0.5)) / 1000 }

// Size prints a number of bytes for people.
func Size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	default:
		return fmt.Sprintf("%d bytes", bytes)
	}
}

// Plural prints a count with its noun.
func Plural(count int, noun string) string {
	if count == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", count, noun)
}
