package osbuild

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// queue is the pools that wait for a slot, as their statuses tell it, and the
// slots of runs that were started and are not in the cache yet.
type queue struct {
	mu sync.Mutex
	// line is in the order in which the pools may start.
	line []waiter
	// reserved is the UID of the run that a pool's slot is for; empty until it
	// is known.
	reserved map[string]types.UID
}

type waiter struct {
	pool  string
	place osbuild.Place
}

// compare orders by when the pools joined.
func (w waiter) compare(other waiter) int {
	return cmp.Or(w.place.Since.Compare(other.place.Since), strings.Compare(w.pool, other.pool))
}

func newQueue() *queue { return &queue{reserved: map[string]types.UID{}} }

// take notes what a pool's status tells; false when that is no news.
func (q *queue) take(p *mcfgv1.MachineConfigPool) bool {
	place, waits := osbuild.PlaceOf(p.Status.Conditions)
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.index(p.Name)
	if !mcp.OptedIn(p) || !waits {
		q.leave(i)
		return i >= 0
	}
	w := waiter{p.Name, place}
	if i >= 0 && q.line[i] == w {
		return false
	}
	q.leave(i)
	at, _ := slices.BinarySearchFunc(q.line, w, waiter.compare)
	q.line = slices.Insert(q.line, at, w)
	return true
}

// drop forgets a pool that is gone.
func (q *queue) drop(pool string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.leave(q.index(pool))
	delete(q.reserved, pool)
}

// index is where a pool stands in the line; -1 when it does not.
func (q *queue) index(pool string) int {
	return slices.IndexFunc(q.line, func(w waiter) bool { return w.pool == pool })
}

func (q *queue) leave(i int) {
	if i >= 0 {
		q.line = slices.Delete(q.line, i, i+1)
	}
}

// holds is true for a pool with a slot for a run that the cache does not show.
func (q *queue) holds(pool string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, held := q.reserved[pool]
	return held
}

// started notes which run has the slot that a pool reserved.
func (q *queue) started(pool string, run types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, held := q.reserved[pool]; held {
		q.reserved[pool] = run
	}
}

// seen ends the reservation for a run that the cache shows, and so counts.
func (q *queue) seen(pool string, run types.UID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.reserved[pool] == run && run != "" {
		delete(q.reserved, pool)
	}
}

// release gives back the slot that reserve took; false when there was none.
func (q *queue) release(pool string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	_, held := q.reserved[pool]
	delete(q.reserved, pool)
	return held
}

// slots says what a pool may count on. Which pools have an active run is asked under
// the lock, here as below: a run that comes into the cache between an answer and the
// lock would count neither as active nor, once it was seen, as reserved.
func (q *queue) slots(pool string, limit int, active func() []string) osbuild.Slots {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.slotsLocked(pool, limit, active())
}

func (q *queue) slotsLocked(pool string, limit int, active []string) osbuild.Slots {
	ahead := q.index(pool)
	if ahead < 0 {
		ahead = len(q.line)
	}
	return osbuild.Slots{Limit: limit, Busy: q.busyLocked(pool, active), Ahead: ahead}
}

// busyLocked counts the slots that other pools have.
func (q *queue) busyLocked(pool string, active []string) int {
	busy := 0
	for _, other := range active {
		if _, counted := q.reserved[other]; other != pool && !counted {
			busy++
		}
	}
	for other := range q.reserved {
		if other != pool {
			busy++
		}
	}
	return busy
}

// reserve takes a slot for a pool when one is free, which nobody else can take
// until it is released.
func (q *queue) reserve(pool string, limit int, active func() []string) (osbuild.Slots, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.slotsLocked(pool, limit, active())
	if !s.Free() {
		return s, false
	}
	q.reserved[pool] = ""
	return s, true
}

// due returns the waiting pools that have something to do: those that may
// start, and those whose place is to be told anew.
func (q *queue) due(limit int, active func() []string) []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	free := limit - q.busyLocked("", active())
	var due []string
	for i, w := range q.line {
		if i < free || w.place.Retell(i-max(free, 0)+1) {
			due = append(due, w.pool)
		}
	}
	return due
}

// empty is true when no pool waits.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.line) == 0
}

// wakeQueue wakes the pools that a change of the queue or of the slots concerns.
func (c *Controller) wakeQueue() {
	if c.queue.empty() {
		return
	}
	settings, _ := buildconfig.Read(c.Informers.Setting(api.ConfigMapBuildConfig), c.Informers.Setting(api.ConfigMapOSImageURL))
	for _, pool := range c.queue.due(settings.MaxConcurrentBuilds, c.Backend.Active) {
		c.runner.Enqueue(pool)
	}
}

// giveBack gives a slot back that no run took.
func (c *Controller) giveBack(pool string) {
	if c.queue.release(pool) {
		c.wakeQueue()
	}
}

// started notes the run that a slot was taken for.
func (c *Controller) started(ctx context.Context, pool string, run types.UID) {
	c.queue.started(pool, run)
	c.queueSees(ctx, pool)
}

// queueSees ends a reservation whose run the cache shows.
func (c *Controller) queueSees(ctx context.Context, pool string) {
	builds, err := c.Backend.List(ctx, pool, false)
	if err != nil {
		return // a cache has no error to give
	}
	for _, b := range builds {
		c.queue.seen(pool, b.UID)
	}
}

// settleSlot finds out, from a live view, what became of a start that failed
// half-way.
func (c *Controller) settleSlot(ctx context.Context, v *view) {
	for _, b := range v.observed.Builds {
		if b.UID != "" {
			c.started(ctx, v.pool.Name, b.UID)
			return
		}
	}
	c.giveBack(v.pool.Name)
}

// startable plans from a live view, and takes the slot that a start needs.
func (c *Controller) startable(ctx context.Context, v *view) osbuild.NextSteps {
	next := v.plan()
	if !next.Starts() {
		c.settleSlot(ctx, v)
		return next
	}
	slots, free := c.queue.reserve(v.pool.Name, v.settings.MaxConcurrentBuilds, c.Backend.Active)
	v.observed.Slots = slots
	if !free {
		return v.plan()
	}
	return next
}
