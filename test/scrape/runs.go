package main

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/fake"
)

// datedRuns are scripted runs that were made when the scenario's clock says.
type datedRuns struct {
	*fake.Backend
	clock clock.PassiveClock
	mu    sync.Mutex
	made  map[types.UID]time.Time
}

// List implements backend.Backend.
func (r *datedRuns) List(ctx context.Context, pool string, live bool) ([]backend.Observation, error) {
	list, err := r.Backend.List(ctx, pool, live)
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range list {
		b := &list[i]
		if b.UID == "" {
			continue
		}
		if _, known := r.made[b.UID]; !known {
			r.made[b.UID] = r.clock.Now()
		}
		b.Created = r.made[b.UID]
	}
	return list, err
}
