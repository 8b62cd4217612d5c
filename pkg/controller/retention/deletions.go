package retention

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

const (
	// deletionsAtOnce bounds the requests to registries.
	deletionsAtOnce = 4
	// deletionTimeout bounds one of them.
	deletionTimeout = 30 * time.Second
	// deletionPoll is how soon a pool looks again for room for its request, should
	// nobody wake it.
	deletionPoll = time.Minute
)

// deletions are requests to registries, made in the background, so that the
// worker never waits for a registry: one at a time for each pool.
type deletions struct {
	// ended is called with the pool's name when there is a result.
	ended    func(pool string)
	running  sync.WaitGroup
	mu       sync.Mutex
	pools    map[string]*deletion
	underWay int
	// waiting are pools for whose request there was no room, in their order.
	waiting []string
}

type deletion struct {
	image retention.Image
	done  bool
	err   error
}

func newDeletions(ended func(pool string)) *deletions {
	return &deletions{ended: ended, pools: map[string]*deletion{}}
}

// start deletes an image of a pool that has no other deletion. It returns false
// when there is no room for a request: what was looked at must not be old when it
// is made, so the pool is woken to look again.
func (d *deletions) start(ctx context.Context, pool string, image retention.Image, request func(context.Context) error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.underWay >= deletionsAtOnce {
		if !slices.Contains(d.waiting, pool) {
			d.waiting = append(d.waiting, pool)
		}
		return false
	}
	d.underWay++
	entry := &deletion{image: image}
	d.pools[pool] = entry
	d.running.Go(func() {
		limited, cancel := context.WithTimeout(ctx, deletionTimeout)
		defer cancel()
		err := request(limited)
		next := d.finish(entry, err)
		d.ended(pool)
		if next != "" {
			d.ended(next)
		}
	})
	return true
}

// finish notes a result and returns the pool that has waited longest for room.
func (d *deletions) finish(entry *deletion, err error) (next string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entry.done, entry.err = true, err
	d.underWay--
	if len(d.waiting) > 0 {
		next, d.waiting = d.waiting[0], d.waiting[1:]
	}
	return next
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
