package osbuild

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// story is what happens to a world in order: each event once, as soon as it
// can, and each run ends as the next of ends says, or well.
type story struct {
	events []event
	ends   []func(*backend.Observation)
}

type event struct {
	name string
	when func(*world) bool
	what func(*world)
}

// tell lets a story happen, with the fault in the n-th round. It returns how
// many actions each round had.
func (s story) tell(t *testing.T, w *world, n int, f fault) (actions []int) {
	t.Helper()
	for range 400 {
		if len(s.events) > 0 && s.events[0].when(w) {
			s.events[0].what(w)
			s.events = s.events[1:]
		}
		before, how := w.key(), unbroken
		broken := len(actions) == n
		if broken {
			how = f
		}
		actions = append(actions, len(w.round(how)))
		moved := s.move(w)
		if len(w.forbidden) > 0 {
			t.Fatalf("forbidden: %v", w.forbidden)
		}
		switch wait := w.wait(); {
		case broken || moved || w.key() != before || (len(s.events) > 0 && s.events[0].when(w)):
		case wait > 0:
			w.now = w.now.Add(wait)
		case len(s.events) > 0:
			t.Fatalf("at rest before %q", s.events[0].name)
		default:
			return actions
		}
	}
	t.Fatal("it does not come to rest")
	return nil
}

// move lets the cluster go on by one step; it is false when nothing moves.
func (s *story) move(w *world) bool {
	w.now = w.now.Add(time.Second)
	for _, config := range modelConfigs {
		if b := w.builds[config]; len(s.ends) > 0 && b.Phase == backend.PhaseRunning && !b.Deleting {
			w.set(config, s.ends[0], w.finish)
			s.ends = s.ends[1:]
			return true
		}
	}
	moves := w.moves()
	if len(moves) == 0 {
		return false
	}
	moves[0].do(w)
	return true
}

func runs(config string) func(*world) bool {
	return func(w *world) bool { return w.builds[config].Phase == backend.PhaseRunning }
}

func built(config string) func(*world) bool {
	return func(w *world) bool { return w.imageConfig == config && len(w.builds) == 0 }
}

func gaveUp(w *world) bool { return w.records[configA].Outcome == Failed }

func between(w *world) bool { return w.records[configA].Outcome == Retrying }

func atOnce(*world) bool { return true }

func drop(w *world) { w.lose(configA, true) }

func out(when func(*world) bool) []event { return []event{{"out", when, optIn(false)}} }

// TestS16Stories: after whichever action of a story the controller dies, it ends
// as it does unbroken, with the same builds, and nothing left over.
func TestS16Stories(t *testing.T) {
	type ends = []func(*backend.Observation)
	badly, lost, noDigest := failedWith(api.ReasonBuildFailed, "exit 1"), phase(backend.PhaseInterrupted), succeededWith("")
	for name, row := range map[string]struct {
		story
		want []string // must be in the summary
	}{
		"plain":                      {story{}, []string{"BuildSuccess\n", "started " + configA, "annotated " + configA}},
		"one bad try":                {story{nil, ends{badly}}, []string{"BuildSuccess\n", "after 2 tries"}},
		"S20: every try bad":         {story{nil, ends{badly, noDigest, badly}}, []string{"BuildFailed\n", "Failed after 3 tries", "left: " + configA}},
		"S23":                        {story{nil, ends{lost, lost}}, []string{"BuildSuccess\n", "1 tries, 2 interruptions"}},
		"S23: deleted by somebody":   {story{[]event{{"drop", runs(configA), drop}}, nil}, []string{"BuildSuccess\n", "1 tries, 1 interruptions"}},
		"S01: B wanted while A runs": {story{[]event{{"B", runs(configA), target(configB)}}, nil}, []string{"annotated " + configB, "started " + configA + " " + configB}},
		"S03: the failed A is left":  {story{[]event{{"B", between, target(configB)}}, ends{badly}}, []string{"annotated " + configB, "started " + configA + " " + configB + "\n"}},
		"S04: again while A goes":    {story{[]event{{"again", runs(configA), rebuild}}, nil}, []string{"started " + configA + " " + configA, "BuildSuccess\n"}},
		"S07: B after A":             {story{[]event{{"B", built(configA), target(configB)}}, nil}, []string{"annotated " + configB, "started " + configA + " " + configB}},
		"S11": {
			story{[]event{{"B", built(configA), target(configB)}, {"A", runs(configB), target(configA)}}, nil},
			[]string{"annotated " + configA, "started " + configA + " " + configB},
		},
		"S22: after giving up": {story{[]event{{"rebuild", gaveUp, rebuild}}, ends{badly, badly, badly}}, []string{"BuildSuccess\n", "after 1 tries"}},
		"S09: rebuild":         {story{[]event{{"rebuild", built(configA), rebuild}}, nil}, []string{"started " + configA + " " + configA + "\n", "BuildSuccess\n"}},
		"S11: another Dockerfile of A, rebuilt as B": {
			story{[]event{
				{"B", built(configA), target(configB)},
				{"rebuild", built(configB), rebuild},
				{"A", func(w *world) bool { return built(configB)(w) && w.records[configB].RebuildToken == w.token }, target(configA)},
				{"Dockerfile", built(configA), func(w *world) { w.dockerfile = modelDockerfile }},
			}, nil},
			[]string{"annotated " + configA, "started " + strings.Join([]string{configA, configB, configB, configA}, " ") + "\n"},
		},
		"S25: out while it runs": {story{out(runs(configA)), nil}, []string{"annotated  nothing\n"}},
		"S25: out after success": {story{out(built(configA)), nil}, []string{"annotated  nothing\n"}},
		"S25: out after failure": {story{out(gaveUp), ends{badly, badly, badly}}, []string{"annotated  nothing\n"}},
		"S25: out between tries": {story{out(between), ends{badly}}, []string{"annotated  nothing\n"}},
		"S25: out, and in again": {story{append(out(runs(configA)), event{"in", atOnce, optIn(true)}), nil}, []string{"annotated " + configA}},
		"S25: out, in later": {
			story{append(out(built(configA)), event{"in", func(w *world) bool { return w.imageConfig == "" && len(w.records) == 0 }, optIn(true)}), nil},
			[]string{"annotated " + configA, "started " + configA},
		},
		"S05: made again while it runs": {story{[]event{{"remade", runs(configA), remake}}, nil}, []string{"BuildSuccess\n", "started " + configA + " " + configA}},
		"S05: made again after success": {story{[]event{{"remade", built(configA), remake}}, nil}, []string{"BuildSuccess\n", "started " + configA + "\n"}},
		"S29": {
			story{[]event{
				{"B", built(configA), target(configB)},
				{"the image is deleted", built(configB), func(w *world) { clear(w.images); target(configA)(w) }},
			}, nil},
			[]string{"annotated " + configA, "started " + strings.Join([]string{configA, configB, configA}, " ")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			calm := newWorld(2)
			actions := row.tell(t, calm, -1, unbroken)
			for _, want := range row.want {
				if !strings.Contains(calm.summary()+"\n", want) {
					t.Fatalf("unbroken it ends with\n%s\nwithout %q", calm.summary(), want)
				}
			}
			for n, k := range actions {
				for at := range k {
					w := newWorld(2)
					row.tell(t, w, n, fault{at, unheard})
					if diff := cmp.Diff(calm.summary(), w.summary()); diff != "" {
						t.Errorf("round %d dies after action %d of %d:\n%s", n, at+1, k, diff)
					}
				}
			}
		})
	}
}
