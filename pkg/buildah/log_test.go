package buildah

import (
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
