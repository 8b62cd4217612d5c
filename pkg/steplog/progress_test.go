package steplog

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

func TestProgressLines(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(0, 0)
	progress := NewProgress(&log, 2, func() time.Time { now = now.Add(250 * time.Millisecond); return now })
	progress.Step("a", "doing %s", "a")
	progress.Note("a note")
	progress.Done("%s", Size(52<<10))
	progress.Step("b", "doing b")
	progress.Done("%s, %s", Plural(1, "layer"), Plural(2, "layer"))
	want := "[1/2] doing a\n      a note\n      52.0 KiB (0.2 s)\n[2/2] doing b\n      1 layer, 2 layers (0.2 s)\n"
	if log.String() != want {
		t.Errorf("log:\n%s", log.String())
	}
	if timings := fmt.Sprint(progress.Timings()); timings != "[{a 0.25} {b 0.25} {total 1.25}]" {
		t.Errorf("timings = %s", timings)
	}
}
