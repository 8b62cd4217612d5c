package main

import (
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

func TestConverter(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, converterName)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../convert-ignition").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		return path
	}
	file := func(inside string) string {
		return `{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x","contents":{"source":"data:,x"}` + inside + `}]}}`
	}
	for name, row := range map[string]struct {
		path, config, err string
		limit             time.Duration
		config3           bool
		missing           bool
	}{
		"config":            {path: program, config: file(`,"mode":420`), config3: true},
		"a large one":       {path: program, config: file(`},{"filesystem":"root","path":"/y","contents":{"source":"data:,` + strings.Repeat("y", 1_400_000) + `"}`), config3: true},
		"a bad one":         {path: program, config: file(`},{"filesystem":"root","path":"/x"`), err: "conflicting inodes"},
		"no JSON":           {path: program, config: "{", err: "spec 2"},
		"no program":        {path: filepath.Join(dir, "gone"), config: file(""), err: "running", missing: true},
		"killed":            {path: script("killed", "kill -9 $$"), config: file(""), err: "killed", missing: true},
		"another exit code": {path: script("code", "exit 2"), config: file(""), err: "exit status 2", missing: true},
		"a crash":           {path: script("crash", "echo 'fatal error: out of memory' >&2; echo 'goroutine 1 at 0x1234' >&2; exit 2"), config: file(""), err: "exit status 2: fatal error: out of memory", missing: true},
		"no end":            {path: script("endless", "exec sleep 1000"), limit: 10 * time.Millisecond, config: file(""), err: "takes longer than 10ms", missing: true},
		"no answer":         {path: script("mute", "cat > /dev/null"), config: file(""), err: "no JSON", missing: true},
	} {
		t.Run(name, func(t *testing.T) {
			convert := converterAt(row.path, cmp.Or(row.limit, convertTime))
			cfg, _, err := ignition.Parse([]byte(row.config), convert)
			if row.config == "{" {
				_, err = convert([]byte(row.config))
			}
			if (err != nil) != (row.err != "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Fatalf("error is %v, want %q", err, row.err)
			}
			if err != nil && strings.Contains(err.Error(), "0x1234") {
				t.Errorf("the error differs each time: %v", err)
			}
			if errors.Is(err, ignition.ErrNoConverter) != row.missing {
				t.Errorf("whose fault it is: %v", err)
			}
			if row.config3 == reflect.DeepEqual(cfg, ignition.Config{}) {
				t.Errorf("converted %t", !row.config3)
			}
		})
	}
}

func TestConverterIsBesideTheProgram(t *testing.T) {
	if _, err := converter(); err != nil {
		t.Error(err)
	}
}
