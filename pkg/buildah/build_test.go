package buildah

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
)

// TestBuildBeginsAgainWhatNeverRan: a step that ran is not run twice.
func TestBuildBeginsAgainWhatNeverRan(t *testing.T) {
	const (
		begin = `echo '[1/2] STEP 1/2: FROM configs AS final'; echo '[1/2] STEP 2/2: RUN make'; `
		busy  = `echo 'Close_Fd sealing memfd copy: Device or resource busy' >&2; `
		fail  = `echo 'subprocess exited with status 1'; echo 'Error: building at STEP "RUN make": while running runtime: exit status 1' >&2; exit 1`
		once  = `[ "$(wc -l < "$(dirname "$0")/calls")" = 1 ] && { ` + busy + fail + `; }; `
	)
	tests := []struct {
		name, script string
		calls        int
		exit         int // 0 where the build succeeds
		last         string
		made         int // images that steps left which ran
	}{
		{
			name: "steps of the first try are kept", calls: 2, made: 2,
			script: `echo '[1/2] STEP 1/3: RUN one'; [ "$(wc -l < "$(dirname "$0")/calls")" = 1 ] || echo '--> Using cache ` + strings.Repeat("1", 64) + `'; echo '--> ` + strings.Repeat("1", 12) + `'; ` +
				`echo '[1/2] STEP 2/3: RUN make'; ` + once + `echo '--> ` + strings.Repeat("2", 12) + `'; echo '[1/2] STEP 3/3: RUN three'`,
		},
		{name: "first try", script: begin + "echo made", calls: 1},
		{name: "not begun once", script: begin + once + "echo made", calls: 2},
		{name: "never begun", script: begin + busy + fail, calls: builds, exit: 1, last: "busy"},
		{name: "another failure", script: begin + "echo no rule; " + fail, calls: 1, exit: 1, last: "no rule"},
		{name: "a step that printed before", script: begin + "echo making; " + busy + fail, calls: 1, exit: 1, last: "busy"},
		{name: "another failure the second time", script: begin + once + "echo no rule; " + fail, calls: 2, exit: 1, last: "no rule"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			calls := buildahtest.Fake(t, test.script)
			var shown []string
			log, err := newProgram(t).Build(context.Background(), false, func(line string) { shown = append(shown, line) }, "--file", "x")
			var exit *ExitError
			if (err == nil) != (test.exit == 0) || err != nil && (!errors.As(err, &exit) || exit.Code != test.exit) {
				t.Errorf("error = %v", err)
			}
			if made := calls(); len(made) != test.calls || !strings.HasSuffix(made[0], " build --file x") {
				t.Errorf("calls = %q, want %d", made, test.calls)
			}
			if again := strings.Count(strings.Join(shown, "\n"), "building once more"); again != test.calls-1 {
				t.Errorf("told %d times: %q", again, shown)
			}
			if len(log.Made) != test.made {
				t.Errorf("made %v, want %d", log.Made, test.made)
			}
			if test.exit == 0 {
				return
			}
			if log.StepAt != (StepAt{1, 2}) || log.ExitCode != test.exit || !strings.HasSuffix(fmt.Sprint(log.Output.End()), test.last+"]") {
				t.Errorf("log = %+v", log)
			}
		})
	}
}
