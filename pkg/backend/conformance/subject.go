package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Subject is a back-end in a cluster without builds, and what happens to its
// runs there without its doing.
type Subject struct {
	Backend backend.Backend
	// Builder is which of the api.Builder values it is.
	Builder string
	// Pool exists in the cluster.
	Pool buildspec.Pool
	// Begin fills the back-end's caches. It is called once, after Watch.
	Begin func(ctx context.Context) error
	// Shape makes a request one of the kind that is tested; nil for the plain kind.
	Shape func(r *buildspec.Request)
	// Occupy makes an object with the name of a request's run that no build made.
	Occupy func(ctx context.Context, r buildspec.Request) error
	// Finish lets a run end well, with a digest.
	Finish func(ctx context.Context, o backend.Observation, digest string) error
	// Hold keeps a run terminating, once it is asked to go, until Release.
	Hold, Release func(ctx context.Context, o backend.Observation) error
	// Stall keeps a run terminating, once it is asked to go, until it is abandoned.
	Stall func(ctx context.Context, o backend.Observation) error
}

// settle is how long a cluster may take to do anything.
const settle = 30 * time.Second

// bench is a subject at work, with what Watch told.
type bench struct {
	Subject
	t    *testing.T
	mu   sync.Mutex
	told []string
}

func newBench(t *testing.T, s Subject) *bench {
	t.Helper()
	b := &bench{Subject: s, t: t}
	b.must(s.Backend.Watch(func(before, after *backend.Observation) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, look(before)+" -> "+look(after))
	}))
	b.must(s.Begin(t.Context()))
	return b
}

// look is an observation in brief.
func look(o *backend.Observation) string {
	switch {
	case o == nil:
		return "gone"
	case o.Phase == backend.PhaseNone:
		return "inputs"
	case o.Deleting && o.Phase.Active():
		return string(o.Phase) + " and terminating"
	}
	return string(o.Phase)
}

func (b *bench) events() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.told...)
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// eventually waits until a check holds.
func (b *bench) eventually(what string, check func() error) {
	b.t.Helper()
	last := errors.New("never looked")
	err := wait.PollUntilContextTimeout(b.t.Context(), 10*time.Millisecond, settle, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		b.t.Fatalf("%s: not after %v: %v", what, settle, last)
	}
}

// one waits until the cache shows one build that a condition holds for.
func (b *bench) one(what string, holds func(backend.Observation) bool) backend.Observation {
	b.t.Helper()
	var o backend.Observation
	b.eventually(what, func() error {
		all, err := b.Backend.List(b.t.Context(), b.Pool.Name, false)
		if err != nil {
			return err
		}
		if len(all) != 1 || !holds(all[0]) {
			return fmt.Errorf("builds are %+v", all)
		}
		o = all[0]
		return nil
	})
	return o
}

func (b *bench) none() {
	b.t.Helper()
	b.eventually("all of the build is gone", func() error {
		for _, live := range []bool{false, true} {
			all, err := b.Backend.List(b.t.Context(), b.Pool.Name, live)
			if err != nil {
				return err
			}
			if len(all) > 0 {
				return fmt.Errorf("builds are %+v", all)
			}
		}
		return nil
	})
}

// start starts a build and waits until the cache shows its run.
func (b *bench) start(r buildspec.Request) backend.Observation {
	b.t.Helper()
	uid, err := b.Backend.Start(b.t.Context(), r)
	b.must(err)
	return b.one("the run is seen", func(o backend.Observation) bool { return o.UID != "" && o.UID == uid && !o.Incomplete })
}

// refuses starts a build that something is in the way of.
func (b *bench) refuses(what string, r buildspec.Request) {
	b.t.Helper()
	var foreign *backend.ForeignObjectError
	if _, err := b.Backend.Start(b.t.Context(), r); !errors.As(err, &foreign) {
		b.t.Fatalf("%s: error %v, want a ForeignObjectError", what, err)
	}
	if foreign.Object == "" || foreign.Why == "" {
		b.t.Errorf("%s: error %+v names nothing", what, foreign)
	}
}

func (b *bench) request(change ...func(*buildspec.Request)) buildspec.Request {
	r := buildspec.Request{
		ID: "v1-0123", Attempt: 1, Pool: b.Pool, RenderedConfig: "rendered-" + b.Pool.Name + "-conformance", Builder: b.Builder, MachineConfig: buildspec.Payload{Chunks: []string{"YQ==", "Yg=="}, SHA256: "0"},
		Dockerfile: "FROM registry.example.com/os/base:1 AS configs\n", BaseImage: "registry.example.com/os/base:1",
		FinalImage: "registry.example.com/os/images:x", BuilderImage: "registry.example.com/builder:1", Timeout: time.Hour,
		RebuildToken: "again", Changes: []string{"one", "two"},
	}
	if b.Shape != nil {
		b.Shape(&r)
	}
	for _, c := range change {
		c(&r)
	}
	return r
}
