package main

import (
	"strings"
	"testing"
)

func TestPhasesAreSelected(t *testing.T) {
	for asked, want := range map[string]string{
		"":             strings.Join(phaseNames(), ","),
		"builds,cache": "cache,builds",
		"memory":       "memory",
		"cache,disk":   `-phases: "disk" is not known; use ` + strings.Join(phaseNames(), ", "),
	} {
		t.Run(asked, func(t *testing.T) {
			selected, err := (&bench{options: options{phases: asked}}).selected()
			var names []string
			for _, p := range selected {
				names = append(names, p.name)
			}
			got := strings.Join(names, ",")
			if err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
