package podlog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

func TestLastLines(t *testing.T) {
	var long strings.Builder
	for i := range 1000 {
		fmt.Fprintln(&long, i)
	}
	for name, row := range map[string]struct {
		in          string
		n           int
		first, last string
	}{
		"none":            {"", 0, "", ""},
		"no newline":      {"a", 1, "a", "a"},
		"more than kept":  {long.String(), backend.LogLines, fmt.Sprint(1000 - backend.LogLines), "999"},
		"one without end": {strings.Repeat("x", 1<<20) + "\nend", 2, strings.Repeat("x", LongestLine), "end"},
		"not UTF-8":       {"a\xffb\n", 1, "a�b", "a�b"},
	} {
		t.Run(name, func(t *testing.T) {
			lines, err := lastLines(strings.NewReader(row.in), LongestLine)
			if err != nil || len(lines) != row.n {
				t.Fatalf("%d lines, %v; want %d", len(lines), err, row.n)
			}
			if row.n > 0 && (lines[0] != row.first || lines[row.n-1] != row.last) {
				t.Errorf("from %.20q to %.20q", lines[0], lines[row.n-1])
			}
		})
	}
}
