package osbuild

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// modelConfigs are the rendered configs that a world has.
var modelConfigs = []string{configA, configB}

const (
	modelDockerfile = "FROM configs AS final\nRUN true\n"
	// grace is what a run that is asked to go is given.
	grace = 30 * time.Second
)

// user is what people ask for.
type user struct {
	optedIn, wrong, degraded  bool
	asBuilds                  bool // rather than pods
	pool                      types.UID
	target, dockerfile, token string
	request                   string // the token of before it is known whether it is answered
}

// answers is how the registry answers.
type answers int

const (
	truly answers = iota
	notAtAll
	denied
)

// world is a cluster of maps: one pool, two rendered configs, a registry and a
// controller that can die at any moment. It holds each of the controller's
// actions against what doc.go forbids.
type world struct {
	user
	newestImage, imageConfig string
	conditions               []mcfgv1.MachineConfigPoolCondition
	builds                   map[string]backend.Observation // by rendered config
	stranded                 map[string]bool                // builds whose node is lost: nothing moves them
	records                  map[string]Record
	images                   map[string]string // pullspec -> digest: what the registry has
	registry                 answers
	noSlot                   bool
	now                      time.Time
	started                  []string // the configs of the runs that were ever made
	forbidden                []string // what was done that must not be
	memory                   *memory
}

// memory is what all copies of a world share.
type memory struct {
	retries int
	desires map[user]Desired  // for the token that is in effect
	made    map[string]origin // by digest
	labels  map[string]string // of the images that a build makes, by its ID
}

// origin is what an image was made of, as its label tells, and of which config.
type origin struct{ label, config string }

// newWorld has an opted-in pool that nothing was done for.
func newWorld(retries int) *world {
	return &world{
		user:       user{optedIn: true, pool: thePool.UID, target: configA},
		conditions: []mcfgv1.MachineConfigPoolCondition{theirs},
		builds:     map[string]backend.Observation{}, stranded: map[string]bool{}, records: map[string]Record{}, images: map[string]string{},
		now: now, memory: &memory{retries, map[user]Desired{}, map[string]origin{}, map[string]string{}},
	}
}

func (w *world) clone() *world {
	c := *w
	c.builds, c.stranded, c.records, c.images = maps.Clone(w.builds), maps.Clone(w.stranded), maps.Clone(w.records), maps.Clone(w.images)
	c.started, c.forbidden = slices.Clip(w.started), slices.Clip(w.forbidden)
	return &c
}

func (w *world) forbid(format string, args ...any) {
	w.forbidden = append(w.forbidden, fmt.Sprintf(format, args...))
}

// desired is what the user's wishes come to.
func (w *world) desired(o Observed) Desired {
	u := w.user
	u.token, u.request = RebuildToken(w.token, w.target, o), w.token
	if d, ok := w.memory.desires[u]; ok {
		return d
	}
	d := Desire(inputs(func(in *Inputs) {
		in.Pool.UID, in.OptedIn, in.TargetConfig, in.CustomDockerfile, in.RebuildToken, in.RebuildRequest = u.pool, u.optedIn, u.target, u.dockerfile, u.token, u.request
		in.Config = &RenderedConfig{Name: u.target, SpecHash: u.target}
		in.Settings.MaxBuildRetries, in.BuildsServed = w.memory.retries, u.asBuilds
		if u.wrong {
			in.Problems = buildconfig.Problems{{Object: "ConfigMap/x", Text: "wrong"}}
		}
		if u.degraded {
			message := "merge failed"
			in.RenderDegraded = &message
		}
	}))
	w.memory.desires[u] = d
	return d
}

// see is what the controller observes.
func (w *world) see() (Desired, Observed) {
	o := Observed{NewestImage: w.newestImage, ImageConfig: w.imageConfig, Conditions: w.conditions, Slots: Slots{Limit: 1}}
	if w.noSlot {
		o.Slots.Busy = 1
	}
	for _, config := range modelConfigs {
		if b, ok := w.builds[config]; ok {
			o.Builds = append(o.Builds, b)
		}
		if r, ok := w.records[config]; ok {
			o.Records = append(o.Records, r)
		}
	}
	d := w.desired(o)
	w.ask(d, &o)
	return d, o
}

func (w *world) ask(d Desired, o *Observed) {
	o.Registry = nil
	image := Question(d, *o, w.now)
	if image == "" {
		return
	}
	c := &Confirmation{Image: image}
	switch w.registry {
	case notAtAll:
		c.Err, c.Temporary = errors.New("503"), true
	case denied:
		c.Err = errors.New("403")
	default:
		c.Digest, c.Found = w.images[image]
		c.InputsHash = w.memory.made[c.Digest].label
	}
	o.Registry = c
}

// how far an action, or the write of the status after them, comes on which the
// round ends: nothing of it is done, a part, or all with the answer lost.
type how string

const (
	notDone how = "not done"
	partly  how = "partly done"
	unheard how = "done, the answer lost"
	refused how = "refused for good"
)

// fault ends a round at an action, counted from 0; the status comes last.
type fault struct {
	at  int
	how how
}

// unbroken is no fault.
var unbroken = fault{at: -1}

// round is one of the controller's, and returns what it did. It mirrors
// pkg/controller/osbuild: a round that writes a record goes on from it.
func (w *world) round(f fault) (done []Action) {
	d, o := w.see()
	next := Plan(d, o, w.now).Actions
	for _, a := range next {
		if f.at == len(done) {
			w.end(d, o, a, f.how)
			return done
		}
		w.apply(d, a)
		done = append(done, a)
	}
	if takeRecord(&o, done) {
		w.ask(d, &o)
		for _, a := range Plan(d, o, w.now).Actions {
			if f.at == len(done) {
				w.end(d, o, a, f.how)
				return done
			}
			w.apply(d, a)
			done = append(done, a)
		}
	}
	if f.at != len(done) {
		w.tell(d, o)
	}
	return done
}

// takeRecord makes the record that was written part of what was seen.
func takeRecord(o *Observed, done []Action) bool {
	for _, a := range done {
		if a, ok := a.(WriteRecord); ok {
			o.Records = slices.DeleteFunc(slices.Clone(o.Records), func(r Record) bool { return r.RenderedConfig == a.Record.RenderedConfig })
			o.Records = append(o.Records, a.Record)
			return true
		}
	}
	return false
}

// end is the last action of a round.
func (w *world) end(d Desired, o Observed, a Action, how how) {
	switch how {
	case unheard:
		w.apply(d, a)
	case partly:
		// Inputs are there, the run is not.
		gone := types.UID("")
		if a, ok := a.(StartBuild); ok {
			gone = w.builds[a.Request.RenderedConfig].Gone
		}
		w.apply(d, a)
		if a, ok := a.(StartBuild); ok {
			b := withoutRun(w.builds[a.Request.RenderedConfig])
			b.Gone = gone
			w.builds[a.Request.RenderedConfig] = b
			w.started = w.started[:len(w.started)-1]
		}
	case refused:
		d.Blocked = &Obstacle{api.ReasonCannotStart, "quota"}
		w.tell(d, o)
	case notDone:
	}
}

func (w *world) tell(d Desired, o Observed) {
	w.conditions = Status(d, o, w.now)
	var held []string
	for _, c := range w.conditions {
		if slices.Contains(api.OwnedConditions[:4], c.Type) && c.Status == "True" {
			held = append(held, string(c.Type))
		}
	}
	if want := map[bool]int{true: 1}[w.optedIn]; len(held) != want {
		w.forbid("the conditions %v are True; opted in: %v", held, w.optedIn)
	}
	if foreign := mcp.Condition(w.conditions, theirs.Type); foreign == nil || *foreign != theirs {
		w.forbid("a condition of another controller is now %v", foreign)
	}
}

func (w *world) apply(d Desired, a Action) {
	switch a := a.(type) {
	case StartBuild:
		w.start(d, a)
	case DeleteRun:
		w.change(a.Build, func(b *backend.Observation) {
			w.mustBeRecorded(d, *b)
			b.Deleting, b.RunDeleting, b.GoneBy = true, true, w.now.Add(grace)
		})
	case RemoveBuild:
		w.change(a.Build, func(b *backend.Observation) {
			w.mustBeRecorded(d, *b)
			b.Deleting, b.RunDeleting = true, false
			if b.Phase != backend.PhaseNone && b.GoneBy.IsZero() {
				b.GoneBy = w.now.Add(grace)
			}
		})
	case AbandonRun:
		w.change(a.Build, func(b *backend.Observation) {
			if !b.Deleting || w.now.Before(b.GoneBy.Add(abandonAfter)) {
				w.forbid("%s is abandoned, which goes by %v", b.Object, b.GoneBy)
			}
			// The image of one that succeeded is found in the registry.
			if b.RunDeleting && b.Phase != backend.PhaseSucceeded {
				w.mustBeRecorded(d, *b)
			}
		})
		w.gone(a.Build)
	case WriteRecord:
		w.record(d, a.Record)
	case DeleteRecord:
		if w.optedIn {
			w.forbid("the record of %s is deleted", a.RenderedConfig)
		}
		delete(w.records, a.RenderedConfig)
	case Annotate:
		w.annotate(d, a)
	default:
		w.forbid("%T is unknown here", a)
	}
}

func (w *world) start(d Desired, a StartBuild) {
	r := a.Request
	if !w.optedIn || w.noSlot || r.RenderedConfig != w.target || r.ID != d.Request.ID || r.Pool.UID != w.pool {
		w.forbid("%s is started for %+v", r.Object, w.user)
	}
	for _, b := range w.builds {
		if b.Phase != backend.PhaseNone || b.Deleting || b.ID != r.ID || b.Pool != r.Pool {
			w.forbid("%s is started while %s (%s) exists", r.Object, b.Object, b.Phase)
		}
	}
	w.memory.labels[r.ID] = r.ImageLabels[api.ImageLabelInputsHash]
	w.started = append(w.started, r.RenderedConfig)
	w.builds[r.RenderedConfig] = backend.Observation{
		Pool: r.Pool, RenderedConfig: r.RenderedConfig, Builder: r.Builder, ID: r.ID, Attempt: r.Attempt, RebuildToken: r.RebuildToken, Changes: r.Changes,
		Object: r.Object, UID: runUID(len(w.started)), Phase: backend.PhasePending, Created: w.now,
	}
}

// change changes a build unless it is another one by now, or is gone.
func (w *world) change(of backend.Observation, how func(*backend.Observation)) {
	if b, ok := w.builds[of.RenderedConfig]; ok && b.UID == of.UID {
		how(&b)
		w.builds[of.RenderedConfig] = b
	}
}

// mustBeRecorded: nothing of a build goes whose result somebody may still want.
func (w *world) mustBeRecorded(d Desired, b backend.Observation) {
	switch {
	case !w.optedIn || b.Pool.UID != w.pool || b.Phase == backend.PhaseNone:
	case d.Request == nil && b.RenderedConfig == w.target:
		w.forbid("%s is removed while nobody can say whether it is wanted", b.Object)
	case d.wants(b) && w.records[b.RenderedConfig].LastRun != b.UID:
		w.forbid("%s is removed before its result is recorded", b.Object)
	}
}

func (w *world) record(d Desired, r Record) {
	if d.Request == nil || r.InputsHash != d.Request.ID || r.RenderedConfig != w.target || r.Pool.UID != w.pool {
		w.forbid("%s of %s is recorded for %+v", r.Outcome, r.RenderedConfig, w.user)
	}
	old := w.records[r.RenderedConfig]
	if r.LastRun != "" && r.LastRun != old.LastRun {
		if b := w.builds[r.RenderedConfig]; cmp.Or(b.UID, b.Gone) != r.LastRun || b.ID != r.InputsHash {
			w.forbid("the end of run %q of %q is recorded as that of %q", r.LastRun, b.ID, r.InputsHash)
		}
	}
	if r.Image != "" && r.Image != old.Image && w.madeOf(r.Image) != (origin{names.ImageHash(r.Inputs), r.RenderedConfig}) {
		w.forbid("%s is recorded as the image of %s", r.Image, r.RenderedConfig)
	}
	w.records[r.RenderedConfig] = r
	// No two records are written at once, so that the newest one is no matter of names.
	w.now = w.now.Add(time.Nanosecond)
}

// madeOf is what an image was made of that the registry has and says so.
func (w *world) madeOf(image string) origin {
	if digest, ok := w.images[image]; ok && w.registry == truly {
		return w.memory.made[digest]
	}
	return origin{}
}

func (w *world) annotate(d Desired, a Annotate) {
	switch {
	case a.NewestImage == "" && w.optedIn:
		w.forbid("the result is taken from a pool that is opted in")
	case a.NewestImage == "":
	case d.Request == nil || a.ImageConfig != w.target || w.madeOf(a.NewestImage) != (origin{d.Request.ImageLabels[api.ImageLabelInputsHash], w.target}):
		w.forbid("%s is annotated as the image of %s", a.NewestImage, a.ImageConfig)
	case w.records[w.target].Image != a.NewestImage || w.records[w.target].InputsHash != d.Request.ID:
		w.forbid("%s is annotated, which no record holds", a.NewestImage)
	}
	w.newestImage, w.imageConfig = a.NewestImage, a.ImageConfig
}

// check holds the world itself against what must always be true.
func (w *world) check() {
	runs := 0
	for _, b := range w.builds {
		if b.Phase != backend.PhaseNone {
			runs++
		}
	}
	if runs > 1 {
		w.forbid("%d runs exist at once", runs)
	}
	if _, digest, _ := strings.Cut(w.newestImage, "@"); w.newestImage != "" && w.memory.made[digest].config != w.imageConfig {
		w.forbid("%s is annotated as the image of %s, and is of %s", w.newestImage, w.imageConfig, w.memory.made[digest].config)
	}
}

// summary is what an administrator can see of the world.
func (w *world) summary() string {
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
	return strings.Join(append(out, "annotated "+w.imageConfig+" "+cmp.Or(w.newestImage, "nothing"), "started "+strings.Join(w.started, " ")), "\n")
}
