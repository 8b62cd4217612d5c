package buildah

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

func TestOutletPassesOrdinaryOutputOn(t *testing.T) {
	var lines []string
	o := newOutlet(func(line string) { lines = append(lines, line) })
	o.Line("one")
	o.Line("")
	o.Close()
	if got := strings.Join(lines, "|"); got != "one|" {
		t.Errorf("passed on: %q", got)
	}
}

// TestOutletBoundsAFlood: whatever a step prints, the log has its beginning and
// its end, and stays small.
func TestOutletBoundsAFlood(t *testing.T) {
	for name, width := range map[string]int{"short lines": 1, "long lines": maxLine} {
		t.Run(name, func(t *testing.T) {
			var bytes, count int
			var first, last, warned string
			o := newOutlet(func(line string) {
				bytes += len(line) + lineCost
				count++
				switch {
				case first == "":
					first = line
				case strings.HasPrefix(line, "warning: "):
					warned = line
				}
				last = line
			})
			total := 3 * outputLimit / (width + lineCost)
			for i := range total {
				o.Line(fmt.Sprintf("%0*d", width, i))
			}
			o.Close()
			if bytes > outputLimit+(endLines+2)*(maxLine+lineCost) {
				t.Errorf("%d bytes in %d lines were passed on", bytes, count)
			}
			if len(first) != width || last != fmt.Sprintf("%0*d", width, total-1) {
				t.Errorf("first %.20q, last %.20q", first, last)
			}
			if !strings.Contains(warned, "32.0 MiB") || !strings.Contains(warned, "last 250 lines") {
				t.Errorf("warning %q", warned)
			}
		})
	}
}

// endless is a stream of one byte, over and over.
type endless byte

func (e endless) Read(into []byte) (int, error) {
	for i := range into {
		into[i] = byte(e)
	}
	return len(into), nil
}

// TestFloodTakesNoMemory follows output as Build does.
func TestFloodTakesNoMemory(t *testing.T) {
	log, shown := NewLog(), newOutlet(func(string) {})
	readLines(io.LimitReader(endless('x'), 256<<20), func(line string) {
		if log.Add(line) {
			shown.Line(line)
		}
	})
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	if memory.HeapAlloc > 32<<20 {
		t.Errorf("after 256 MiB of output %s are in use", steplog.Size(int64(memory.HeapAlloc)))
	}
	shown.Close()
	runtime.KeepAlive(log)
}
