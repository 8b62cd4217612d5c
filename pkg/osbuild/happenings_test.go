package osbuild

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// happening is something that can happen in a world, beside the controller.
type happening struct {
	name string
	do   func(*world)
}

// moves are what the cluster does by itself now, the likeliest first.
func (w *world) moves() []happening {
	var out []happening
	for _, config := range modelConfigs {
		if r, ok := w.records[config]; ok && r.Pool.UID != w.pool {
			out = append(out, happening{"the record of " + config + " is collected", func(w *world) { delete(w.records, config) }})
		}
		if config == w.target {
			out = append(out, w.unmarks()...)
		}
		b, ok := w.builds[config]
		switch {
		case !ok:
		case b.Deleting && w.stranded[config] && b.Phase != backend.PhaseNone:
		case b.Deleting:
			out = append(out, happening{"what was asked to go of " + config + " is gone", func(w *world) { w.gone(b) }})
		case b.Pool.UID != w.pool:
			out = append(out, happening{config + " is collected", func(w *world) { w.lose(config, false) }})
		case w.stranded[config] && b.Phase.Active():
			out = append(out, happening{"the run of " + config + " is evicted from its node", func(w *world) { w.lose(config, true) }})
		case b.Phase == backend.PhasePending:
			out = append(out, happening{"the run of " + config + " begins", func(w *world) { w.set(config, phase(backend.PhaseRunning)) }})
		case b.Phase == backend.PhaseRunning:
			out = append(out, happening{"the run of " + config + " succeeds", func(w *world) { w.succeed(config) }})
		}
	}
	return out
}

// unmarks are what retention does about images that the target may need.
func (w *world) unmarks() []happening {
	var out []happening
	config := w.target
	if !w.records[config].UnneededSince.IsZero() {
		out = append(out, happening{"retention takes the mark from the image of " + config, func(w *world) { w.mark(config, time.Time{}) }})
	}
	if marked := markedOf(w.records[config]); len(marked) > 0 && w.verdict().Type != mcfgv1.MachineConfigPoolBuildSuccess {
		out = append(out, happening{"retention takes the mark from the earlier images of " + config, func(w *world) {
			r := w.records[config]
			r.Superseded = slices.Clone(r.Superseded)
			for i := range r.Superseded {
				r.Superseded[i].UnneededSince = time.Time{}
			}
			w.records[config] = r
		}})
	}
	return out
}

// mark marks the image of a record for deletion, or takes the mark off.
func (w *world) mark(config string, since time.Time) {
	r := w.records[config]
	r.UnneededSince = since
	w.records[config] = r
}

// markEarlier marks the image that was there before.
func (w *world) markEarlier(config string, since time.Time) {
	r := w.records[config]
	r.Superseded = slices.Clone(r.Superseded)
	r.Superseded[0].UnneededSince = since
	w.records[config] = r
}

// markedOf are the inputs of the images that were there before and are marked for
// deletion.
func markedOf(r Record) []string {
	var marked []string
	for _, s := range r.Superseded {
		if !s.UnneededSince.IsZero() {
			marked = append(marked, s.InputsHash)
		}
	}
	return marked
}

// earlierOf is the last image that a record's own replaced.
func earlierOf(r Record) SupersededImage {
	if len(r.Superseded) == 0 {
		return SupersededImage{}
	}
	return r.Superseded[0]
}

// mishaps are what else can happen now: users change their mind, others meddle,
// and things break or are mended.
func (w *world) mishaps() []happening {
	out := append(w.wishes(), w.registryMishaps()...)
	for _, config := range modelConfigs {
		if b, ok := w.builds[config]; ok {
			out = append(out, w.runMishaps(b)...)
		}
		if r, ok := w.records[config]; ok {
			out = append(out, happening{"somebody deletes the record of " + config, func(w *world) { delete(w.records, config) }})
			if earlier := earlierOf(r); earlier.Image != "" && earlier.UnneededSince.IsZero() {
				out = append(out, happening{"the earlier image of " + config + " is marked for deletion", func(w *world) { w.markEarlier(config, w.now) }})
			}
			if r.Image != "" && r.UnneededSince.IsZero() && r.Image != w.newestImage && config != w.target {
				out = append(out, happening{"the image of " + config + " is marked for deletion", func(w *world) { w.mark(config, w.now) }})
			}
		}
	}
	out = append(out, happening{"the slot changes hands", func(w *world) { w.noSlot = !w.noSlot }})
	if w.newestImage != "" {
		out = append(out, happening{"somebody takes the result from the pool", func(w *world) { w.newestImage, w.imageConfig = "", "" }})
	}
	return out
}

// wishes are the user's.
func (w *world) wishes() []happening {
	out := []happening{
		{"the label changes", func(w *world) { w.optedIn = !w.optedIn }},
		{"settings are broken, or mended", func(w *world) { w.wrong = !w.wrong }},
		{"RenderDegraded changes", func(w *world) { w.degraded = !w.degraded }},
		{"the other config is wanted", func(w *world) { target(map[string]string{configA: configB, configB: configA}[w.target])(w) }},
		{"the other builder is wanted", func(w *world) { w.asBuilds = !w.asBuilds }},
		{"the Dockerfile changes", func(w *world) { w.dockerfile = strings.TrimPrefix(modelDockerfile, w.dockerfile) }},
	}
	for _, token := range []string{"", "1", "2"} {
		if token != w.token {
			out = append(out, happening{fmt.Sprintf("the rebuild token becomes %q", token), func(w *world) { w.token = token }})
		}
	}
	if w.pool == thePool.UID {
		out = append(out, happening{"the pool is made again", remake})
	}
	return out
}

// remake deletes the pool and makes it again with the same name.
func remake(w *world) {
	w.pool, w.token, w.newestImage, w.imageConfig = "pool-2", "", "", ""
	w.conditions = []mcfgv1.MachineConfigPoolCondition{theirs}
}

func (w *world) registryMishaps() []happening {
	var out []happening
	for mode, name := range []string{truly: "answers", notAtAll: "does not answer", denied: "answers 403"} {
		if mode := answers(mode); mode != w.registry {
			out = append(out, happening{"the registry " + name, func(w *world) { w.registry = mode }})
		}
	}
	if len(w.images) > 0 {
		out = append(out, happening{"the registry loses its images", func(w *world) { clear(w.images) }})
	}
	return out
}

func (w *world) runMishaps(b backend.Observation) []happening {
	var out []happening
	config := b.RenderedConfig
	add := func(name string, do func(*world)) {
		out = append(out, happening{"the run of " + config + " " + name, do})
	}
	if !b.Deleting {
		out = append(out, happening{"somebody deletes the inputs of " + config, func(w *world) { w.lose(config, false) }})
		if b.Phase != backend.PhaseNone {
			add("is deleted by somebody", func(w *world) { w.lose(config, true) })
			add("is gone at once", func(w *world) { w.builds[config] = withoutRun(b); delete(w.stranded, config) })
		}
	}
	if !b.Phase.Active() || w.stranded[config] {
		return out
	}
	add("fails", func(w *world) { w.set(config, failedWith(api.ReasonBuildFailed, "exit 1"), w.finish) })
	add("is interrupted", func(w *world) { w.set(config, phase(backend.PhaseInterrupted), w.finish) })
	add("succeeds and names no digest", func(w *world) { w.set(config, succeededWith(""), w.finish) })
	add("succeeds with a digest that the registry has not", func(w *world) { w.set(config, succeededWith("sha256:unheard-of"), w.finish) })
	add("is on a node that is lost", func(w *world) { w.stranded[config] = true })
	if b.Deleting {
		add("succeeds while it goes", func(w *world) { w.succeed(config) })
	}
	return out
}

func (w *world) set(config string, how ...func(*backend.Observation)) {
	b := w.builds[config]
	for _, h := range how {
		h(&b)
	}
	w.builds[config] = b
}

// finish ends a run now; every run ends at a time of its own.
func (w *world) finish(b *backend.Observation) {
	w.now = w.now.Add(time.Second)
	b.Finished = w.now
}

// succeed ends a run well, with an image that the registry has.
func (w *world) succeed(config string) {
	b := w.builds[config]
	digest := fmt.Sprintf("sha256:%s-%s", b.ID, b.UID)
	w.memory.made[digest] = origin{w.memory.labels[b.ID], config}
	w.images[repo+"@"+digest], w.images[repo+":"+config] = digest, digest
	w.set(config, succeededWith(digest), w.finish)
}

// lose asks a build's run, or all of it, to go.
func (w *world) lose(config string, runOnly bool) {
	w.set(config, func(b *backend.Observation) {
		b.Deleting, b.RunDeleting = true, runOnly
		if b.Phase != backend.PhaseNone && b.GoneBy.IsZero() {
			b.GoneBy = w.now.Add(grace)
		}
	})
}

// gone ends what was asked to go, unless it is another one by now.
func (w *world) gone(of backend.Observation) {
	config := of.RenderedConfig
	b := w.builds[config]
	switch {
	case b.UID != of.UID:
		return
	case b.RunDeleting:
		w.builds[config] = withoutRun(b)
	default:
		delete(w.builds, config)
	}
	delete(w.stranded, config)
}

// withoutRun is what is left of a build whose run is gone. That there was one only what
// is left of a Build tells.
func withoutRun(b backend.Observation) backend.Observation {
	left := backend.Observation{Pool: b.Pool, RenderedConfig: b.RenderedConfig, Builder: b.Builder, ID: b.ID, RebuildToken: b.RebuildToken, Object: b.Object}
	if b.Builder == api.BuilderOpenShift {
		left.Gone = b.UID
	}
	return left
}

func target(config string) func(*world) { return func(w *world) { w.target = config } }

func optIn(yes bool) func(*world) { return func(w *world) { w.optedIn = yes } }

func rebuild(w *world) { w.token += "x" }
