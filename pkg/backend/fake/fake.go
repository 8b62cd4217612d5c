package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// Backend implements backend.Backend. The zero value has no builds.
type Backend struct {
	// Fail is asked before each call that changes something, with its name; an
	// error is returned instead of doing it.
	Fail func(call string) error
	// Lose is asked after each such call that was done; its error is returned
	// in place of the answer.
	Lose func(call string) error

	mu       sync.Mutex
	notify   func(before, after *backend.Observation)
	builds   map[string]backend.Observation // by rendered config
	occupied map[string]bool
	held     map[string]bool
	printed  map[types.UID][]string
	runs     int
	calls    []string
}

var _ backend.Backend = (*Backend)(nil)

// epoch is when the first run is made; each further one a second later.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Watch implements backend.Backend.
func (b *Backend) Watch(notify func(before, after *backend.Observation)) error {
	b.notify = notify
	return nil
}

// Calls returns the calls that changed something, or tried to, since the last time.
func (b *Backend) Calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	b.calls = nil
	return calls
}

// Put makes a build as a test describes it.
func (b *Backend) Put(o backend.Observation) {
	b.change(o.RenderedConfig, func(backend.Observation) *backend.Observation { return &o })
}

// Finish ends a run well, with a digest.
func (b *Backend) Finish(config, digest string) {
	b.change(config, func(o backend.Observation) *backend.Observation {
		o.Phase, o.Finished = backend.PhaseSucceeded, o.Created.Add(time.Second)
		o.Result = buildspec.Result{Succeeded: true, Digest: digest}
		return &o
	})
}

// Occupy makes the name of a config's run somebody else's.
func (b *Backend) Occupy(config string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set(&b.occupied, config, true)
}

// Hold keeps the objects of a build terminating, once they are asked to go,
// until Release.
func (b *Backend) Hold(config string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set(&b.held, config, true)
}

// Release ends a Hold.
func (b *Backend) Release(config string) {
	b.mu.Lock()
	delete(b.held, config)
	b.mu.Unlock()
	b.change(config, b.going)
}

// List implements backend.Backend.
func (b *Backend) List(_ context.Context, pool string, _ bool) ([]backend.Observation, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []backend.Observation
	for _, config := range slices.Sorted(maps.Keys(b.builds)) {
		if o := b.builds[config]; o.Pool.Name == pool {
			list = append(list, o)
		}
	}
	return list, nil
}

// Active implements backend.Backend.
func (b *Backend) Active() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	pools := map[string]bool{}
	for _, o := range b.builds {
		if o.Phase.Active() {
			pools[o.Pool.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(pools))
}

// Print makes a run print lines.
func (b *Backend) Print(config string, lines ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	uid := b.builds[config].UID
	set(&b.printed, uid, append(b.printed[uid], lines...))
}

// Log implements backend.Backend.
func (b *Backend) Log(_ context.Context, o backend.Observation) ([]string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.printed[o.UID]), nil
}

// Start implements backend.Backend.
func (b *Backend) Start(_ context.Context, r buildspec.Request) (types.UID, error) {
	if err := b.called("start " + r.RenderedConfig); err != nil {
		return "", err
	}
	var uid types.UID
	var refusal error
	b.change(r.RenderedConfig, func(o backend.Observation) *backend.Observation {
		if o.RenderedConfig == "" {
			o = backend.Observation{Pool: r.Pool, RenderedConfig: r.RenderedConfig, Builder: r.Builder, ID: r.ID, RebuildToken: r.RebuildToken, Object: names.RunKind(r.Builder) + "/" + names.Build(r.RenderedConfig)}
		}
		why := ""
		switch {
		case o.Deleting:
			why = "it is being deleted"
		case o.ID != r.ID || o.Pool.UID != r.Pool.UID:
			why = "it was made of other inputs"
		case b.occupied[r.RenderedConfig]:
			why = "it is somebody else's"
		case o.UID != "" && o.Attempt != r.Attempt:
			why = fmt.Sprintf("it is try %d", o.Attempt)
		case o.UID == "":
			b.runs++
			o.UID, o.Phase, o.Attempt, o.Changes = types.UID(fmt.Sprintf("run-%d", b.runs)), backend.PhasePending, r.Attempt, r.Changes
			o.Created, o.Timeout = epoch.Add(time.Duration(b.runs)*time.Second), r.Timeout
		}
		if why != "" {
			refusal = &backend.ForeignObjectError{Object: o.Object, Why: why, Going: o.Deleting}
		}
		uid = o.UID
		return &o
	})
	if refusal == nil {
		refusal = b.lost("start " + r.RenderedConfig)
	}
	return uid, refusal
}

// DeleteRun implements backend.Backend.
func (b *Backend) DeleteRun(_ context.Context, o backend.Observation) error {
	if err := b.called("delete-run " + o.RenderedConfig); err != nil {
		return err
	}
	b.change(o.RenderedConfig, func(have backend.Observation) *backend.Observation {
		if have.UID != "" && have.UID == o.UID {
			have.Deleting, have.RunDeleting, have.GoneBy = true, true, have.Created
		}
		return b.going(have)
	})
	return b.lost("delete-run " + o.RenderedConfig)
}

// Abandon implements backend.Backend.
func (b *Backend) Abandon(_ context.Context, o backend.Observation) error {
	if err := b.called("abandon " + o.RenderedConfig); err != nil {
		return err
	}
	b.mu.Lock()
	have := b.builds[o.RenderedConfig]
	if have.UID == o.UID {
		delete(b.held, o.RenderedConfig)
	}
	b.mu.Unlock()
	b.change(o.RenderedConfig, b.going)
	return b.lost("abandon " + o.RenderedConfig)
}

// Remove implements backend.Backend.
func (b *Backend) Remove(_ context.Context, o backend.Observation) error {
	if err := b.called("remove " + o.RenderedConfig); err != nil {
		return err
	}
	b.change(o.RenderedConfig, func(have backend.Observation) *backend.Observation {
		have.Deleting, have.RunDeleting = true, false
		if have.UID != "" {
			have.GoneBy = have.Created
		}
		return b.going(have)
	})
	return b.lost("remove " + o.RenderedConfig)
}

// going is what is left of a build that was asked to go in part or in all.
func (b *Backend) going(o backend.Observation) *backend.Observation {
	switch {
	case !o.Deleting || b.held[o.RenderedConfig]:
		return &o
	case o.RunDeleting:
		return &backend.Observation{Pool: o.Pool, RenderedConfig: o.RenderedConfig, Builder: o.Builder, ID: o.ID, RebuildToken: o.RebuildToken, Object: o.Object}
	}
	return nil
}

func (b *Backend) called(call string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
	if b.Fail != nil {
		return b.Fail(call)
	}
	return nil
}

func (b *Backend) lost(call string) error {
	if b.Lose == nil {
		return nil
	}
	return b.Lose(call)
}

// change replaces a build, or nothing, with what a function makes of it, and
// tells of it as a back-end has to.
func (b *Backend) change(config string, how func(backend.Observation) *backend.Observation) {
	b.mu.Lock()
	before, existed := b.builds[config]
	after := how(before)
	switch {
	case after != nil && after.RenderedConfig != "":
		set(&b.builds, config, *after)
	default:
		after = nil
		delete(b.builds, config)
	}
	b.mu.Unlock()
	if b.notify == nil {
		return
	}
	var was, is *backend.Observation
	if before.UID != "" {
		was = &before
	}
	if after != nil && after.UID != "" {
		is = after
	}
	if (was == nil) != (is == nil) || (was != nil && (was.Phase != is.Phase || (is.Phase.Active() && was.Deleting != is.Deleting))) {
		b.notify(was, is)
	}
	if existed && after == nil {
		b.notify(&backend.Observation{Pool: before.Pool, RenderedConfig: before.RenderedConfig, Builder: before.Builder, ID: before.ID, Object: before.Object}, nil)
	}
}

func set[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}
