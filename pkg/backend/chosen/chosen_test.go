package chosen

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/conformance"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/fake"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// TestConforms: with another one beside it, a back-end is what it is alone.
func TestConforms(t *testing.T) {
	conformance.Run(t, func(*testing.T) conformance.Subject {
		b := &fake.Backend{}
		each := func(do func(config string)) func(context.Context, backend.Observation) error {
			return func(_ context.Context, o backend.Observation) error {
				do(o.RenderedConfig)
				return nil
			}
		}
		return conformance.Subject{
			Backend: New(map[string]backend.Backend{api.BuilderCustomPod: &fake.Backend{}, api.BuilderOpenShift: b}),
			Builder: api.BuilderOpenShift,
			Pool:    buildspec.Pool{Name: "worker", UID: "pool-1"},
			Begin:   func(context.Context) error { return nil },
			Occupy: func(_ context.Context, r buildspec.Request) error {
				b.Occupy(r.RenderedConfig)
				return nil
			},
			Finish: func(_ context.Context, o backend.Observation, digest string) error {
				b.Finish(o.RenderedConfig, digest)
				return nil
			},
			Hold: each(b.Hold), Stall: each(b.Hold), Release: each(b.Release),
		}
	})
}

// TestEachBuildIsItsOwnBackends: whatever is done to a build, its back-end does it.
func TestEachBuildIsItsOwnBackends(t *testing.T) {
	backends := map[string]*fake.Backend{api.BuilderCustomPod: {}, api.BuilderOpenShift: {}}
	both := New(map[string]backend.Backend{api.BuilderCustomPod: backends[api.BuilderCustomPod], api.BuilderOpenShift: backends[api.BuilderOpenShift]})
	if err := both.Watch(func(_, _ *backend.Observation) {}); err != nil {
		t.Fatal(err)
	}
	ctx, pool := t.Context(), buildspec.Pool{Name: "worker", UID: "pool-1"}
	for config, builder := range map[string]string{"b": api.BuilderCustomPod, "a": api.BuilderOpenShift} {
		if _, err := both.Start(ctx, buildspec.Request{ID: "1", Pool: pool, RenderedConfig: config, Builder: builder}); err != nil {
			t.Fatal(err)
		}
	}
	all, err := both.List(ctx, pool.Name, false)
	if err != nil || len(all) != 2 || all[0].RenderedConfig != "a" || all[1].RenderedConfig != "b" {
		t.Fatalf("builds %+v, error %v", all, err)
	}
	if active := both.Active(); !cmp.Equal(active, []string{"worker"}) {
		t.Errorf("active pools %q", active)
	}
	for _, o := range all {
		for name, do := range map[string]func(context.Context, backend.Observation) error{
			"delete-run": both.DeleteRun, "abandon": both.Abandon, "remove": both.Remove,
			"log": func(ctx context.Context, o backend.Observation) error { _, err := both.Log(ctx, o); return err },
		} {
			if err := do(ctx, o); err != nil {
				t.Errorf("%s of %s: %v", name, o.Object, err)
			}
		}
	}
	for builder, config := range map[string]string{api.BuilderCustomPod: "b", api.BuilderOpenShift: "a"} {
		calls := backends[builder].Calls()
		if len(calls) != 4 {
			t.Errorf("%s was called %q", builder, calls)
		}
		for _, call := range calls {
			if !strings.HasSuffix(call, " "+config) {
				t.Errorf("%s was asked: %s", builder, call)
			}
		}
	}
}

func TestUnknownBuilder(t *testing.T) {
	b := New(map[string]backend.Backend{api.BuilderCustomPod: &fake.Backend{}})
	_, err := b.Start(t.Context(), buildspec.Request{Builder: "kaniko"})
	for _, err := range []error{err, b.Remove(t.Context(), backend.Observation{}), b.DeleteRun(t.Context(), backend.Observation{}), b.Abandon(t.Context(), backend.Observation{})} {
		if err == nil || !strings.Contains(err.Error(), api.BuilderCustomPod) {
			t.Errorf("error %v", err)
		}
	}
}
