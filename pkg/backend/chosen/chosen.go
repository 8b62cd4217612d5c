package chosen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Backend is a set of back-ends.
type Backend struct {
	builders []string // sorted
	backends map[string]backend.Backend
}

var _ backend.Backend = (*Backend)(nil)

// New returns one for back-ends by their api.Builder values.
func New(backends map[string]backend.Backend) *Backend {
	return &Backend{builders: slices.Sorted(maps.Keys(backends)), backends: backends}
}

// Watch implements backend.Backend.
func (b *Backend) Watch(notify func(before, after *backend.Observation)) error {
	return b.each(func(one backend.Backend) error { return one.Watch(notify) })
}

func (b *Backend) each(do func(backend.Backend) error) error {
	var errs []error
	for _, builder := range b.builders {
		errs = append(errs, do(b.backends[builder]))
	}
	return errors.Join(errs...)
}

// List implements backend.Backend.
func (b *Backend) List(ctx context.Context, pool string, live bool) ([]backend.Observation, error) {
	var all []backend.Observation
	err := b.each(func(one backend.Backend) error {
		found, err := one.List(ctx, pool, live)
		all = append(all, found...)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b backend.Observation) int { return strings.Compare(a.RenderedConfig, b.RenderedConfig) })
	return all, nil
}

// Active implements backend.Backend.
func (b *Backend) Active() []string {
	var all []string
	for _, builder := range b.builders {
		all = append(all, b.backends[builder].Active()...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// of is the back-end of a builder.
func (b *Backend) of(builder string) (backend.Backend, error) {
	one, found := b.backends[builder]
	if !found {
		return nil, fmt.Errorf("no back-end for %q; there are %s", builder, strings.Join(b.builders, ", "))
	}
	return one, nil
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, r buildspec.Request) (types.UID, error) {
	one, err := b.of(r.Builder)
	if err != nil {
		return "", err
	}
	return one.Start(ctx, r)
}

// Log implements backend.Backend.
func (b *Backend) Log(ctx context.Context, o backend.Observation) ([]string, error) {
	one, err := b.of(o.Builder)
	if err != nil {
		return nil, err
	}
	return one.Log(ctx, o)
}

// DeleteRun implements backend.Backend.
func (b *Backend) DeleteRun(ctx context.Context, o backend.Observation) error {
	one, err := b.of(o.Builder)
	if err != nil {
		return err
	}
	return one.DeleteRun(ctx, o)
}

// Abandon implements backend.Backend.
func (b *Backend) Abandon(ctx context.Context, o backend.Observation) error {
	one, err := b.of(o.Builder)
	if err != nil {
		return err
	}
	return one.Abandon(ctx, o)
}

// Remove implements backend.Backend.
func (b *Backend) Remove(ctx context.Context, o backend.Observation) error {
	one, err := b.of(o.Builder)
	if err != nil {
		return err
	}
	return one.Remove(ctx, o)
}
