package retention

import (
	"context"
	"sync"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

const (
	// deletionsAtOnce bounds the requests to registries.
	deletionsAtOnce = 4
	// deletionTimeout bounds one of them.
	deletionTimeout = 30 * time.Second
)

// deletions are requests to registries, made in the background, so that the
// worker never waits for a registry: one at a time for each pool.
type deletions struct {
	// ended is called with the pool's name when there is a result.
	ended   func(pool string)
	slots   chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	pools   map[string]*deletion
}

type deletion struct {
	image retention.Image
	done  bool
	err   error
}

func newDeletions(ended func(pool string)) *deletions {
	return &deletions{ended: ended, slots: make(chan struct{}, deletionsAtOnce), pools: map[string]*deletion{}}
}

// start deletes an image of a pool that has no other deletion.
func (d *deletions) start(ctx context.Context, pool string, image retention.Image, request func(context.Context) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry := &deletion{image: image}
	d.pools[pool] = entry
	d.running.Go(func() {
		select {
		case d.slots <- struct{}{}:
			defer func() { <-d.slots }()
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, deletionTimeout)
		defer cancel()
		err := request(limited)
		d.mu.Lock()
		entry.done, entry.err = true, err
		d.mu.Unlock()
		d.ended(pool)
	})
}

// of returns a pool's deletion; false when it has none.
func (d *deletions) of(pool string) (deletion, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if entry := d.pools[pool]; entry != nil {
		return *entry, true
	}
	return deletion{}, false
}

// forget drops the result of a pool's deletion.
func (d *deletions) forget(pool string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.pools, pool)
}

// wait returns when nothing is under way.
func (d *deletions) wait() { d.running.Wait() }
