package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// broken takes nothing.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

// TestRun: what is wrong with the config is told apart from what is not.
func TestRun(t *testing.T) {
	good := `{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x","mode":420}]}}`
	for name, row := range map[string]struct {
		stdin  io.Reader
		broken bool
		code   int
		says   string
	}{
		"converted":        {stdin: strings.NewReader(good), says: `"version":"3.1.0"`},
		"a config of 3":    {stdin: strings.NewReader(`{"ignition":{"version":"3.1.0"}}`), code: 1, says: "spec 2"},
		"nobody to ask":    {stdin: iotest.ErrReader(errors.New("gone")), code: 2, says: "gone"},
		"nobody to tell":   {stdin: strings.NewReader(good), broken: true, code: 2, says: "broken"},
		"no config at all": {stdin: strings.NewReader(""), code: 1, says: "spec 2"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			out := io.Writer(&stdout)
			if row.broken {
				out = broken{}
			}
			if code := run(row.stdin, out, &stderr); code != row.code || !strings.Contains(stdout.String()+stderr.String(), row.says) {
				t.Errorf("code %d, %q, %q", code, stdout.String(), stderr.String())
			}
		})
	}
}
