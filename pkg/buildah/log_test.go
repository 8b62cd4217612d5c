package buildah

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLogKnowsWhoLeftAnImage, also where a stage waits for another in the middle of a
// step.
func TestLogKnowsWhoLeftAnImage(t *testing.T) {
	const cached = "--> Using cache 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
	for name, row := range map[string]struct {
		log  string
		want map[StepAt]string
	}{
		"one after the other": {
			"[1/2] STEP 1/2: FROM a\n[1/2] STEP 2/2: RUN x\nout\n--> aaaaaaaaaaaa\n[2/2] STEP 1/2: FROM b\n[2/2] STEP 2/2: RUN y\n[2/2] COMMIT i\n--> bbbbbbbbbbbb\nSuccessfully tagged i\n",
			map[StepAt]string{{1, 2}: "aaaaaaaaaaaa", {2, 2}: "bbbbbbbbbbbb"},
		},
		"one that did not run": {
			"[1/1] STEP 2/3: RUN x\n" + cached + "--> 012345678901\n[1/1] STEP 3/3: RUN y\n--> bbbbbbbbbbbb\n",
			map[StepAt]string{{1, 3}: "bbbbbbbbbbbb"},
		},
		"a stage that waits": {
			"[3/3] STEP 4/6: COPY --from=tools /a /a\n[2/3] STEP 1/2: FROM a AS tools\n[2/3] STEP 2/2: RUN x\n--> aaaaaaaaaaaa\n--> bbbbbbbbbbbb\n[3/3] STEP 5/6: RUN y\n--> cccccccccccc\n",
			map[StepAt]string{{2, 2}: "aaaaaaaaaaaa", {3, 4}: "bbbbbbbbbbbb", {3, 5}: "cccccccccccc"},
		},
		"a stage that waits, and the other one did not run": {
			"[3/3] STEP 4/6: COPY --from=tools /a /a\n[2/3] STEP 2/2: RUN x\n" + cached + "--> 012345678901\n--> bbbbbbbbbbbb\n[3/3] STEP 5/6: RUN y\n",
			map[StepAt]string{{3, 4}: "bbbbbbbbbbbb"},
		},
		"a stage that waits, and did not run": {
			"[3/3] STEP 4/6: COPY --from=tools /a /a\n[2/3] STEP 2/2: RUN x\n--> aaaaaaaaaaaa\n" + cached + "--> 012345678901\n[3/3] STEP 5/6: RUN y\n",
			map[StepAt]string{{2, 2}: "aaaaaaaaaaaa"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := NewLog()
			for line := range strings.Lines(row.log) {
				log.Add(strings.TrimSuffix(line, "\n"))
			}
			if diff := cmp.Diff(row.want, log.Made); diff != "" {
				t.Errorf("made (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLogKnowsWhatFailed, also where the next stage began before buildah ended.
func TestLogKnowsWhatFailed(t *testing.T) {
	const next = "[2/2] STEP 1/3: FROM b\n[2/2] STEP 2/3: RUN y\nof y\n"
	for name, row := range map[string]struct {
		log    string
		at     StepAt
		code   int
		output []string
	}{
		"the last one": {
			"[1/1] STEP 1/2: FROM a\n[1/1] STEP 2/2: RUN x\nout\nsubprocess exited with status 3\nError: building at STEP \"RUN x\": exit status 3\n",
			StepAt{1, 2},
			3,
			[]string{"out"},
		},
		"one of the stage before": {
			"[1/2] STEP 1/2: FROM a\n[1/2] STEP 2/2: RUN x\nout\n" + next + "Error: building at STEP \"RUN x\": exit status 3\n",
			StepAt{1, 2},
			3,
			[]string{"out"},
		},
		"a list": {
			"[1/2] STEP 2/2: RUN [\"sh\", \"-c\", \"exit  3\"]\nout\n" + next + "Error: building at STEP \"RUN sh -c exit  3\": exit status 3\n",
			StepAt{1, 2},
			3,
			[]string{"out"},
		},
		"flags and small letters": {
			"[1/2] STEP 2/2: run --mount=type=cache,target=/c  x \"a b\"\nout\n" + next + "Error: building at STEP \"RUN x \\\"a b\\\"\": exit status 3\n",
			StepAt{1, 2},
			3,
			[]string{"out"},
		},
		"what it names otherwise is of the same instruction": {
			"[1/2] STEP 2/2: COPY $from /\n" + next + "Error: building at STEP \"COPY a /\": no such file\n",
			StepAt{1, 2},
			0, nil,
		},
		"what it names is nowhere": {
			"[1/1] STEP 2/2: RUN x\nout\nError: building at STEP \"\\q\": exit status 3\n",
			StepAt{1, 2},
			3,
			[]string{"out"},
		},
		"a step's own words": {
			"[1/1] STEP 2/2: RUN dnf install x\nError: Unable to find a match: x\nError: more, exit status 9\nsubprocess exited with status 1\nError: building at STEP \"RUN dnf install x\": exit status 1\n",
			StepAt{1, 2},
			1,
			[]string{"Error: Unable to find a match: x", "Error: more, exit status 9"},
		},
		"a step's own words, and none of buildah's": {
			"[1/1] STEP 2/2: RUN x\nError: exit status 9\nout\n",
			StepAt{1, 2},
			0,
			[]string{"Error: exit status 9", "out"},
		},
		"words after the end": {
			"[1/1] STEP 2/2: RUN x\nError: building at STEP \"RUN x\": exit status 1\nlevel=error msg=\"exit status 1\"\n",
			StepAt{1, 2},
			1,
			[]string{"level=error msg=\"exit status 1\""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := NewLog()
			for line := range strings.Lines(row.log) {
				log.Add(strings.TrimSuffix(line, "\n"))
			}
			if log.StepAt != row.at || log.ExitCode != row.code {
				t.Errorf("failed: %v with %d, cause %q", log.StepAt, log.ExitCode, log.Cause)
			}
			if got := log.Output.Lines(); !slices.Equal(got, row.output) {
				t.Errorf("its output is %q", got)
			}
		})
	}
}
