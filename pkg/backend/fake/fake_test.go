package fake_test

import (
	"context"
	"errors"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/conformance"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/fake"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

func TestConforms(t *testing.T) {
	conformance.Run(t, func(*testing.T) conformance.Subject {
		b := &fake.Backend{}
		return conformance.Subject{
			Backend: b,
			Builder: api.BuilderCustomPod,
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
			Hold: func(_ context.Context, o backend.Observation) error {
				b.Hold(o.RenderedConfig)
				return nil
			},
			Stall: func(_ context.Context, o backend.Observation) error {
				b.Hold(o.RenderedConfig)
				return nil
			},
			Release: func(_ context.Context, o backend.Observation) error {
				b.Release(o.RenderedConfig)
				return nil
			},
		}
	})
}

func TestInducedFailure(t *testing.T) {
	induced := errors.New("induced")
	b := &fake.Backend{Fail: func(string) error { return induced }}
	if _, err := b.Start(t.Context(), buildspec.Request{RenderedConfig: "x"}); !errors.Is(err, induced) {
		t.Errorf("error %v", err)
	}
	if all, err := b.List(t.Context(), "worker", true); err != nil || len(all) > 0 {
		t.Errorf("builds %v, error %v", all, err)
	}
	if calls := b.Calls(); len(calls) != 1 || calls[0] != "start x" {
		t.Errorf("calls %v", calls)
	}
}
