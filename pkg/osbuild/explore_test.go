package osbuild

import (
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// mishapsApart is how many mishaps any world is away from the beginning. Rounds
// of the controller, and what the cluster does by itself, are without number.
const mishapsApart = 2

// visit is a world that does not change any more, and how it was reached. Of
// the key, only the hash is kept.
type visit struct {
	*world
	id  uint64
	way *way
}

// way is a step with those before it.
type way struct {
	step string
	from *way
}

var hashSeed = maphash.MakeSeed()

func visited(w *world, step string, from *way) *visit {
	return &visit{w, maphash.Comparable(hashSeed, w.key()), &way{step, from}}
}

func (v *visit) path() string {
	var steps []string
	for w := v.way; w != nil; w = w.from {
		steps = append(steps, w.step)
	}
	slices.Reverse(steps)
	return strings.Join(steps, "\n  then ")
}

// rest is where a world comes to when nothing unforeseen happens any more.
type rest struct {
	*world
	id      uint64
	started int // runs until then
}

// exploration visits every world once.
type exploration struct {
	*testing.T
	seen   map[uint64]bool
	rests  map[uint64]rest
	kinds  map[kind]int // worlds by the state that the pool is in
	faults int
}

// mishapsVariable asks for a deeper exploration.
const mishapsVariable = "MOB_MODEL_MISHAPS"

// beginnings are the worlds from which all others are reached.
func beginnings(t *testing.T) []*visit {
	marked := newWorld(1)
	story{events: []event{{"B", built(configA), target(configB)}}}.tell(t, marked, -1, unbroken)
	marked.mark(configA, marked.now)
	rebuilt := newWorld(1)
	story{events: []event{{"other inputs", built(configA), func(w *world) { w.dockerfile = modelDockerfile }}}}.tell(t, rebuilt, -1, unbroken)
	rebuilt.markEarlier(configA, rebuilt.now)
	failed := newWorld(1)
	badly := failedWith(api.ReasonBuildFailed, "exit 1")
	story{ends: []func(*backend.Observation){badly, badly}}.tell(t, failed, -1, unbroken)
	byBuilds := newWorld(1)
	byBuilds.asBuilds = true
	return []*visit{
		visited(newWorld(1), "nothing was done yet", nil),
		visited(byBuilds, "nothing was done yet, and Builds build", nil),
		visited(marked, "B was built after A, whose image is marked for deletion", nil),
		visited(rebuilt, "A was built twice, and the first image is marked for deletion", nil),
		visited(failed, "all tries failed", nil),
	}
}

// TestS16EveryCrashEverywhere visits every world that is reachable from an
// opted-in pool with up to mishapsApart mishaps, and in each of them breaks the
// controller's round at every action in every way. Wherever it breaks, the world
// comes to rest where it does without: with the same result, records and true
// condition, the same number of runs started, and nothing left over. From every
// world a pool comes to an image, or to a failure that was recorded, once all is
// mended; and to nothing at all once it opts out.
func TestS16EveryCrashEverywhere(t *testing.T) {
	apart := mishapsApart
	if value := os.Getenv(mishapsVariable); value != "" {
		var err error
		if apart, err = strconv.Atoi(value); err != nil || apart < mishapsApart {
			t.Fatalf("%s=%q: use a number of at least %d", mishapsVariable, value, mishapsApart)
		}
	}
	e := &exploration{t, map[uint64]bool{}, map[uint64]rest{}, map[kind]int{}, 0}
	reached := e.close(beginnings(t))
	t.Logf("%d worlds without mishap", len(reached))
	for mishaps := range apart {
		before := reached
		reached = nil
		for _, v := range before {
			reached = append(reached, e.close(v.trouble())...)
		}
		t.Logf("%d worlds more with %d mishaps, %d in all", len(reached), mishaps+1, len(e.seen))
	}
	t.Logf("%d faults, each followed until all is at rest; %d worlds lie on the ways", e.faults, len(e.rests))
	for k := optedOut; k <= succeeded; k++ {
		if e.kinds[k] == 0 {
			t.Errorf("state %d is never met", k)
		}
	}
	t.Logf("worlds by state: %v", e.kinds)
}

// after is the world after something happened.
func (v *visit) after(name string, do func(*world)) *visit {
	w := v.clone()
	do(w)
	return visited(w, name, v.way)
}

// close visits the worlds, and all that follow from them without a mishap.
func (e *exploration) close(todo []*visit) (reached []*visit) {
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if e.seen[v.id] {
			continue
		}
		e.seen[v.id] = true
		e.examine(v)
		reached = append(reached, v)
		todo = append(todo, v.steps()...)
	}
	return reached
}

// steps are the worlds next to one, without mishaps: after a round of the
// controller, after a move of the cluster, or, where there is none, after a while.
func (v *visit) steps() []*visit {
	whole, _ := v.whole()
	out := []*visit{whole}
	for _, m := range v.moves() {
		out = append(out, v.after(m.name, m.do))
	}
	if len(out) == 1 {
		out = append(out, v.later())
	}
	return out
}

// trouble are the worlds one mishap away.
func (v *visit) trouble() []*visit {
	_, done := v.whole()
	out := []*visit{v.later()}
	for _, f := range faults(done) {
		out = append(out, v.broken(f))
	}
	for _, m := range v.mishaps() {
		out = append(out, v.after(m.name, m.do))
	}
	return out
}

// whole is the world after a round, with what it did.
func (v *visit) whole() (next *visit, done []Action) {
	next = v.after("a round", func(w *world) { done = w.round(unbroken) })
	return next, done
}

// later is the world when the controller looks again by itself, or now if it does not.
func (v *visit) later() *visit {
	return v.after("a while", func(w *world) { w.now = w.now.Add(w.wait()) })
}

// faults are all that can break a round with these actions. What the API server
// answers does not count here, but whether it did what was asked.
func faults(done []Action) []fault {
	var out []fault
	for k, a := range done {
		out = append(out, fault{k, notDone}, fault{k, unheard})
		if _, starts := a.(StartBuild); starts {
			out = append(out, fault{k, partly}, fault{k, refused})
		}
	}
	return append(out, fault{len(done), notDone})
}

func (v *visit) broken(f fault) *visit {
	return v.after(fmt.Sprintf("a round broken at action %d, %s", f.at+1, f.how), func(w *world) { w.round(f) })
}

// wait is when the controller looks again by itself.
func (w *world) wait() time.Duration {
	d, o := w.see()
	return Plan(d, o, w.now).RequeueAfter
}

// examine holds a world against what must be true of each.
func (e *exploration) examine(v *visit) {
	v.check()
	e.allowed(v)
	d, o := v.see()
	e.kinds[decide(d, o, v.now).kind]++
	o.Registry = nil // before it has answered
	e.kinds[decide(d, o, v.now).kind]++
	whole, done := v.whole()
	want := e.rest(whole)
	for _, f := range faults(done) {
		e.faults++
		broken := v.broken(f)
		got := e.rest(broken)
		tells := tellsInterruption(f, done)
		same := got.id == want.id || got.key().end(tells) == want.key().end(tells)
		if a, b := len(whole.started)+want.started, len(broken.started)+got.started; !same || a != b {
			e.Fatalf("%s\ncomes to rest elsewhere than unbroken, with %d runs instead of %d:\n%s\n%+v\n%+v", broken.path(),
				b, a, cmp.Diff(want.summary(), got.summary()), want.key().end(tells), got.key().end(tells))
		}
	}
	e.purposeful(v)
	e.purposeful(v.after("all is mended", func(w *world) {
		w.optedIn, w.wrong, w.degraded, w.noSlot, w.registry = true, false, false, false, truly
	}))
	if out := v.after("the pool opts out", optIn(false)); e.rest(out).key().leftover() {
		e.Fatalf("%s\nleaves something:\n%s", out.path(), e.rest(out).summary())
	}
}

// tellsInterruption is false where an interruption need not be told after a
// fault: a start that was refused for good told of a failure, which ends it, and
// of a run that was abandoned nothing is left to tell of.
func tellsInterruption(f fault, done []Action) bool {
	return f.how != refused && !slices.ContainsFunc(done, func(a Action) bool { _, abandons := a.(AbandonRun); return abandons })
}

// allowed fails the test when the controller did what it must not.
func (e *exploration) allowed(v *visit) {
	if len(v.forbidden) > 0 {
		e.Fatalf("%s\nforbidden: %s", v.path(), strings.Join(v.forbidden, "; "))
	}
}

// purposeful: at rest a pool has its image, or has failed, or says what it waits for.
func (e *exploration) purposeful(v *visit) {
	r := e.rest(v)
	if !r.optedIn {
		return
	}
	ok := false
	switch c := r.verdict(); c.Reason {
	case api.ReasonWaitingForSlot:
		ok = r.noSlot
	case api.ReasonWaitingForRegistry:
		ok = r.registry != truly
	case api.ReasonWaitingForRender:
		ok = r.degraded
	case api.ReasonInvalidConfig:
		ok = r.wrong
	case api.ReasonBuildSucceeded, api.ReasonImageReused:
		have := r.records[r.target]
		d, _ := r.see()
		ok = d.Request != nil && have.InputsHash == d.Request.ID && r.newestImage != "" && r.newestImage == have.Image && r.imageConfig == r.target && len(r.builds) == 0
	case api.ReasonBuildFailed, api.ReasonUnconfirmedDigest, api.ReasonBuildTimedOut:
		d, _ := r.see()
		ok = d.Request != nil && r.records[r.target].InputsHash == d.Request.ID && r.records[r.target].Outcome == Failed && len(r.builds) <= 1
	}
	if !ok {
		e.Fatalf("%s\ncomes to rest without purpose at %s:\n%s", v.path(), r.verdict().Reason, r.summary())
	}
}

// rest follows a world until nothing moves.
func (e *exploration) rest(v *visit) rest {
	const most = 200
	var way []*visit
	for range most {
		r, known := e.rests[v.id]
		if !known {
			if next := v.calm(); next.id != v.id {
				e.allowed(next)
				way, v = append(way, v), next
				continue
			}
			r = rest{v.world, v.id, 0}
			e.rests[v.id] = r
		}
		for i := len(way) - 1; i >= 0; i-- {
			r.started += len(v.started) - len(way[i].started)
			v = way[i]
			e.rests[v.id] = r
		}
		return r
	}
	e.Fatalf("%s\ndoes not come to rest", v.path())
	return rest{}
}

// calm is the next thing that happens where nothing unforeseen does.
func (v *visit) calm() *visit {
	if next, _ := v.whole(); next.id != v.id {
		return next
	}
	if moves := v.moves(); len(moves) > 0 {
		return v.after(moves[0].name, moves[0].do)
	}
	return v.later()
}
