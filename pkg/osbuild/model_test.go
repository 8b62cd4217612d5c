package osbuild

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// modelWorld is a cluster of maps: what Plan's actions act on, and what happens
// by itself between two syncs.
type modelWorld struct {
	in                       Inputs
	annotation               string // the rebuild annotation
	newestImage, imageConfig string
	conditions               []mcfgv1.MachineConfigPoolCondition
	builds                   map[string]backend.Observation // by rendered config
	records                  map[string]Record
	registry                 map[string]string // pullspec -> digest
	hashes                   map[string]string // digest -> inputs hash
	ends                     []func(*backend.Observation)
	now                      time.Time
	started                  []string // what was ever started, in order
	actions                  int      // carried out
	crashAfter               int      // the action after which the controller dies; 0 for never
}

func newModel(ends ...func(*backend.Observation)) *modelWorld {
	return &modelWorld{
		in: inputs(), builds: map[string]backend.Observation{}, records: map[string]Record{},
		registry: map[string]string{}, hashes: map[string]string{}, ends: ends, now: now,
	}
}

func (w *modelWorld) observe() (Desired, Observed) {
	o := Observed{
		NewestImage: w.newestImage, ImageConfig: w.imageConfig, Conditions: w.conditions, Slots: Slots{Free: 1},
		Builds: slices.Collect(maps.Values(w.builds)), Records: slices.Collect(maps.Values(w.records)),
	}
	in := w.in
	in.RebuildToken = RebuildToken(w.annotation, in.TargetConfig, o)
	d := Desire(in)
	if image := Question(d, o, w.now); image != "" {
		digest, ok := w.registry[image]
		o.Registry = &Confirmation{Image: image, Found: ok, Digest: digest, InputsHash: w.hashes[digest]}
	}
	return d, o
}

// sync does one round; it is false when nothing was left to do.
func (w *modelWorld) sync(t *testing.T) (busy bool, again time.Duration) {
	d, o := w.observe()
	next := Plan(d, o, w.now)
	for _, a := range next.Actions {
		w.apply(t, a)
		if w.actions++; w.actions == w.crashAfter {
			return true, 0
		}
	}
	status := Status(d, o, w.now)
	verdictOf(t, status)
	changed := !cmp.Equal(status, w.conditions)
	w.conditions = status
	return changed || len(next.Actions) > 0, next.RequeueAfter
}

func (w *modelWorld) apply(t *testing.T, a Action) {
	switch a := a.(type) {
	case StartBuild:
		config := a.Request.RenderedConfig
		if have, ok := w.builds[config]; ok && (have.Phase != backend.PhaseNone || have.ID != a.Request.ID) {
			t.Fatalf("a build of %s is started over %+v", config, have)
		}
		if len(w.builds) > 1 || (len(w.builds) == 1 && w.builds[config].RenderedConfig == "") {
			t.Fatalf("a second build is started beside %v", slices.Collect(maps.Keys(w.builds)))
		}
		w.started = append(w.started, config)
		w.builds[config] = backend.Observation{
			Pool: a.Request.Pool, RenderedConfig: config, ID: a.Request.ID, Attempt: a.Request.Attempt, RebuildToken: a.Request.RebuildToken,
			Object: a.Request.Object, UID: types.UID(fmt.Sprintf("run-%d", len(w.started))), Phase: backend.PhasePending, Created: w.now,
		}
	case DeleteRun:
		w.change(a.Build.RenderedConfig, func(b *backend.Observation) { b.Deleting, b.RunDeleting = true, true })
	case RemoveBuild:
		w.change(a.Build.RenderedConfig, func(b *backend.Observation) { b.Deleting = true })
	case WriteRecord:
		w.records[a.Record.RenderedConfig] = a.Record
	case DeleteRecord:
		delete(w.records, a.RenderedConfig)
	case Annotate:
		if a.NewestImage != "" && w.registry[a.NewestImage] == "" {
			t.Fatalf("%s is annotated, which the registry does not have", a.NewestImage)
		}
		w.newestImage, w.imageConfig = a.NewestImage, a.ImageConfig
	}
}

func (w *modelWorld) change(config string, how func(*backend.Observation)) {
	if b, ok := w.builds[config]; ok {
		how(&b)
		w.builds[config] = b
	}
}

// pass lets the cluster go on by one step; it is false when nothing moves.
func (w *modelWorld) pass() bool {
	w.now = w.now.Add(time.Second)
	for config, b := range w.builds {
		switch {
		case b.Deleting && b.RunDeleting:
			w.builds[config] = backend.Observation{Pool: b.Pool, RenderedConfig: config, ID: b.ID, RebuildToken: b.RebuildToken, Object: b.Object}
		case b.Deleting:
			delete(w.builds, config)
		case b.Phase == backend.PhasePending:
			b.Phase = backend.PhaseRunning
			w.builds[config] = b
		case b.Phase == backend.PhaseRunning:
			w.end(&b)
			w.builds[config] = b
		default:
			continue
		}
		return true
	}
	return false
}

// end ends a run as the script says, or well once that is used up.
func (w *modelWorld) end(b *backend.Observation) {
	b.Finished = w.now
	b.Phase, b.Result.Digest = backend.PhaseSucceeded, fmt.Sprintf("sha256:%s-%d", b.ID, len(w.started))
	if len(w.ends) > 0 {
		w.ends[0](b)
		w.ends = w.ends[1:]
	}
	if b.Phase == backend.PhaseSucceeded && b.Result.Digest != "" {
		w.registry[repo+"@"+b.Result.Digest], w.registry[repo+":"+b.RenderedConfig] = b.Result.Digest, b.Result.Digest
		w.hashes[b.Result.Digest] = b.ID
	}
}

// run goes on until nothing moves; each of the events happens once, as soon as
// it can.
func (w *modelWorld) run(t *testing.T, events []event) {
	for range 400 {
		if len(events) > 0 && events[0].when(w) {
			events[0].what(w)
			events = events[1:]
		}
		busy, again := w.sync(t)
		moved := w.pass()
		switch {
		case busy || moved || (len(events) > 0 && events[0].when(w)):
		case again > 0:
			w.now = w.now.Add(again)
		case len(events) > 0:
			t.Fatalf("quiet before %q", events[0].name)
		default:
			return
		}
	}
	t.Fatal("it does not come to rest")
}

// summary is what must be the same, however the controller was disturbed.
func (w *modelWorld) summary() string {
	var out []string
	for _, c := range w.conditions {
		if c.Status == "True" {
			out = append(out, string(c.Type))
		}
	}
	for _, config := range slices.Sorted(maps.Keys(w.records)) {
		r := w.records[config]
		out = append(out, fmt.Sprintf("record %s %s after %d tries, %d interruptions", config, r.Outcome, r.Attempts, r.Interruptions))
	}
	for _, config := range slices.Sorted(maps.Keys(w.builds)) {
		out = append(out, "left: "+config+" "+string(w.builds[config].Phase))
	}
	return strings.Join(append(out, "annotated "+w.imageConfig+" "+w.newestImage, "started "+strings.Join(w.started, " ")), "\n")
}

type event struct {
	name string
	when func(*modelWorld) bool
	what func(*modelWorld)
}

func runs(config string) func(*modelWorld) bool {
	return func(w *modelWorld) bool { return w.builds[config].Phase == backend.PhaseRunning }
}

func built(config string) func(*modelWorld) bool {
	return func(w *modelWorld) bool { return w.imageConfig == config && len(w.builds) == 0 }
}

func gaveUp(w *modelWorld) bool { return w.records[configA].Outcome == Failed }

func target(config string) func(*modelWorld) {
	return func(w *modelWorld) {
		w.in.TargetConfig, w.in.Config = config, &RenderedConfig{Name: config, SpecHash: config}
	}
}

func optIn(yes bool) func(*modelWorld) { return func(w *modelWorld) { w.in.OptedIn = yes } }

func rebuild(w *modelWorld) { w.annotation += "x" }

func drop(w *modelWorld) {
	w.change(configA, func(b *backend.Observation) { b.Deleting, b.RunDeleting = true, true })
}

// TestS16CrashAfterEveryAction: for every situation and every k, a controller
// that dies after its k-th action ends where an undisturbed one does, with the
// same builds, and nothing left over.
func TestS16CrashAfterEveryAction(t *testing.T) {
	badly, lost := failedWith(api.ReasonBuildFailed, "exit 1"), phase(backend.PhaseInterrupted)
	noDigest := func(b *backend.Observation) { b.Result.Digest = "" }
	for name, row := range map[string]struct {
		ends   []func(*backend.Observation)
		events []event
		want   []string // must be in the summary
	}{
		"plain":                      {nil, nil, []string{"BuildSuccess\n", "started " + configA, "annotated " + configA}},
		"one bad try":                {[]func(*backend.Observation){badly}, nil, []string{"BuildSuccess\n", "after 2 tries"}},
		"every try bad":              {[]func(*backend.Observation){badly, noDigest, badly}, nil, []string{"BuildFailed\n", "Failed after 3 tries", "left: " + configA}},
		"S23":                        {[]func(*backend.Observation){lost, lost}, nil, []string{"BuildSuccess\n", "1 tries, 2 interruptions"}},
		"run deleted by somebody":    {nil, []event{{"drop", runs(configA), drop}}, []string{"BuildSuccess\n", "1 tries, 1 interruptions"}},
		"S01: B wanted while A runs": {nil, []event{{"B", runs(configA), target(configB)}}, []string{"annotated " + configB, "started " + configA + " " + configB}},
		"S07: B after A":             {nil, []event{{"B", built(configA), target(configB)}}, []string{"annotated " + configB, "started " + configA + " " + configB}},
		"S11": {
			nil,
			[]event{{"B", built(configA), target(configB)}, {"A", runs(configB), target(configA)}},
			[]string{"annotated " + configA, "started " + configA + " " + configB},
		},
		"S22: after giving up":        {[]func(*backend.Observation){badly, badly, badly}, []event{{"rebuild", gaveUp, rebuild}}, []string{"BuildSuccess\n", "after 1 tries"}},
		"S09: rebuild":                {nil, []event{{"rebuild", built(configA), rebuild}}, []string{"started " + configA + " " + configA, "BuildSuccess\n"}},
		"rebuild while it runs":       {nil, []event{{"rebuild", runs(configA), rebuild}}, []string{"started " + configA + " " + configA, "BuildSuccess\n"}},
		"S25: out while it runs":      {nil, []event{{"out", runs(configA), optIn(false)}}, []string{"annotated  \n"}},
		"S25: out after success":      {nil, []event{{"out", built(configA), optIn(false)}}, []string{"annotated  \n"}},
		"S25: out after failure":      {[]func(*backend.Observation){badly, badly, badly}, []event{{"out", gaveUp, optIn(false)}}, []string{"annotated  \n"}},
		"S25: out, and in at once":    {nil, []event{{"out", runs(configA), optIn(false)}, {"in", func(*modelWorld) bool { return true }, optIn(true)}}, []string{"annotated " + configA}},
		"S25: out, and in afterwards": {nil, []event{{"out", built(configA), optIn(false)}, {"in", func(w *modelWorld) bool { return w.imageConfig == "" && len(w.records) == 0 }, optIn(true)}}, []string{"annotated " + configA, "started " + configA}},
		"S29": {
			nil,
			[]event{
				{"B", built(configA), target(configB)},
				{"the image is deleted", built(configB), func(w *modelWorld) { clear(w.registry); target(configA)(w) }},
			},
			[]string{"annotated " + configA, "started " + strings.Join([]string{configA, configB, configA}, " ")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			calm := newModel(slices.Clone(row.ends)...)
			calm.run(t, row.events)
			for _, want := range row.want {
				if !strings.Contains(calm.summary()+"\n", want) {
					t.Fatalf("undisturbed it ends with\n%s\nwithout %q", calm.summary(), want)
				}
			}
			for k := 1; k <= calm.actions; k++ {
				w := newModel(slices.Clone(row.ends)...)
				w.crashAfter = k
				w.run(t, row.events)
				if diff := cmp.Diff(calm.summary(), w.summary()); diff != "" {
					t.Errorf("killed after action %d of %d:\n%s", k, calm.actions, diff)
				}
			}
		})
	}
}
