package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/proc"
)

// quietFor is how long the controller must have asked for nothing to count as quiet.
const quietFor = 3 * time.Second

// work is what the controller did for a number of builds.
type work struct {
	builds   float64
	requests requests
	cpu      time.Duration
	// began and ended are what its metrics said.
	began, ended scrape
}

// per divides a count by the builds.
func (m work) per(count float64) float64 { return count / m.builds }

func (m work) queue(name string) float64 { return m.ended.queue(name) - m.began.queue(name) }

func (m work) grown(series string) float64 { return m.ended.series[series] - m.began.series[series] }

// watchWork takes what a replica does while something is going on, until it is quiet.
func (w *world) watchWork(ctx context.Context, r *replica, count int, do func() error) (m work, err error) {
	m.builds = float64(count)
	if m.began, err = r.scrape(ctx); err != nil {
		return m, err
	}
	if _, err := w.audit.take(); err != nil {
		return m, err
	}
	before, err := r.cpu()
	if err != nil {
		return m, err
	}
	if err := do(); err != nil {
		return m, err
	}
	if m.requests, err = w.quiet(ctx); err != nil {
		return m, err
	}
	after, err := r.cpu()
	if err != nil {
		return m, err
	}
	m.cpu = after - before
	m.ended, err = r.scrape(ctx)
	return m, err
}

// quiet waits until the controller asks for nothing and returns what it asked for since the last look.
func (w *world) quiet(ctx context.Context) (requests, error) {
	var all requests
	last := time.Now()
	for ticker := time.NewTicker(quietFor / 10); ; {
		more, err := w.audit.take()
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
		if more.count(request.work) > 0 {
			last = time.Now()
		}
		if time.Since(last) >= quietFor {
			ticker.Stop()
			return all, nil
		}
		select {
		case <-ctx.Done():
			ticker.Stop()
			return nil, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// crowd is what it takes to build all pools at once.
type crowd struct {
	work
	took           time.Duration // from the first label to the last annotation
	toPod, toImage figure.Samples
	most           int
	overtaken      int
}

// buildAll opts pools in at once and waits until all is done and quiet.
func (w *world) buildAll(ctx context.Context, r *replica, pools []string) (crowd, error) {
	var c crowd
	var err error
	c.work, err = w.watchWork(ctx, r, len(pools), func() error {
		if err := w.optIn(ctx, pools); err != nil {
			return err
		}
		return w.built(ctx, pools)
	})
	if err != nil {
		return c, err
	}
	c.took, c.most = w.span(pools), w.most
	c.toPod = w.seconds(pools, func(b *build) time.Duration { return b.created.Sub(b.labelled) })
	c.toImage = w.seconds(pools, func(b *build) time.Duration { return b.annotated.Sub(b.labelled) })
	c.overtaken = w.overtaken()
	return c, nil
}

// overtaken is the most builds that began before one whose pool was labelled
// well before theirs: the queue is ordered by when the controller first saw the
// pools, in whole seconds.
func (w *world) overtaken() int {
	const well = 2 * time.Second
	w.mu.Lock()
	defer w.mu.Unlock()
	most := 0
	for i, pool := range w.order {
		since, by := w.pools[pool].labelled, 0
		for _, earlier := range w.order[:i] {
			if w.pools[earlier].labelled.Sub(since) > well {
				by++
			}
		}
		most = max(most, by)
	}
	return most
}

// idle is a controller that has nothing to do.
type idle struct {
	took     time.Duration
	requests requests
	cpu      time.Duration
	memory   proc.Memory
	scrape   scrape
}

// rest leaves the controller alone.
func (w *world) rest(ctx context.Context, r *replica, d time.Duration) (idle, error) {
	i := idle{took: d}
	if _, err := w.audit.take(); err != nil {
		return i, err
	}
	before, err := r.cpu()
	if err != nil {
		return i, err
	}
	select {
	case <-ctx.Done():
		return i, context.Cause(ctx)
	case <-time.After(d):
	}
	after, err := r.cpu()
	if err != nil {
		return i, err
	}
	i.cpu = after - before
	if i.requests, err = w.audit.take(); err != nil {
		return i, err
	}
	if i.memory, err = r.memory(); err != nil {
		return i, err
	}
	i.scrape, err = r.scrape(ctx)
	return i, err
}

// single is what builds take that come one by one beside many finished ones.
type single struct {
	work
	toPod figure.Samples
}

func (w *world) buildOneByOne(ctx context.Context, r *replica, pools []string) (single, error) {
	var s single
	var err error
	s.work, err = w.watchWork(ctx, r, len(pools), func() error {
		for _, p := range pools {
			if err := w.optIn(ctx, []string{p}); err != nil {
				return err
			}
			if err := w.built(ctx, []string{p}); err != nil {
				return err
			}
		}
		return nil
	})
	s.toPod = w.seconds(pools, func(b *build) time.Duration { return b.created.Sub(b.labelled) })
	return s, err
}

// takeOver is what follows a leader's death.
type takeOver struct {
	toLease  time.Duration // from the death to the next one's lease
	toPod    time.Duration // from there to the pod of a pool that was labelled at the death
	toQuiet  time.Duration // from there to the last request
	requests requests
	cpu      time.Duration
	memory   proc.Memory
}

// dethrone kills the leader, opts a pool in at the same moment, and follows the
// replica that waits for the lease. It returns that one.
func (w *world) dethrone(ctx context.Context, leader *replica, name, pool string) (*replica, takeOver, error) {
	var t takeOver
	next, err := w.startReplica(ctx, name)
	if err != nil {
		return nil, t, err
	}
	if _, err := w.quiet(ctx); err != nil {
		return next, t, err
	}
	leases, stop, err := w.followLease(ctx)
	if err != nil {
		return next, t, err
	}
	defer stop()
	before, err := next.cpu()
	if err != nil {
		return next, t, err
	}
	died := time.Now()
	leader.kill()
	if err := w.optIn(ctx, []string{pool}); err != nil {
		return next, t, err
	}
	var leads time.Time
	select {
	case <-ctx.Done():
		return next, t, context.Cause(ctx)
	case <-time.After(stall):
		return next, t, fmt.Errorf("nobody has taken the lease within %s", stall)
	case leads = <-leases:
	}
	t.toLease = leads.Sub(died)
	if err := w.built(ctx, []string{pool}); err != nil {
		return next, t, err
	}
	w.mu.Lock()
	t.toPod = w.of(pool).created.Sub(leads)
	w.mu.Unlock()
	if t.requests, err = w.quiet(ctx); err != nil {
		return next, t, err
	}
	t.toQuiet = t.requests.last(request.work).Sub(leads)
	after, err := next.cpu()
	if err != nil {
		return next, t, err
	}
	t.cpu = after - before
	t.memory, err = next.memory()
	return next, t, err
}

// followLease tells when another replica takes the lease.
func (w *world) followLease(ctx context.Context) (<-chan time.Time, func(), error) {
	client := w.clients.Core.CoordinationV1().Leases(api.DefaultNamespace)
	lease, err := client.Get(ctx, w.subject.name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the lease: %w", err)
	}
	events, err := client.Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector(metav1.ObjectNameField, lease.Name).String(),
		ResourceVersion: lease.ResourceVersion,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("watching the lease: %w", err)
	}
	taken := make(chan time.Time, 1)
	go func() {
		for event := range events.ResultChan() {
			l, ok := event.Object.(*coordinationv1.Lease)
			if ok && l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != *lease.Spec.HolderIdentity {
				taken <- time.Now()
				return
			}
		}
	}()
	return taken, events.Stop, nil
}

// listing names the kinds of requests with their number per build, most first.
func (m work) listing() string {
	kinds := m.requests.kinds()
	names := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int { return kinds[b] - kinds[a] })
	text := ""
	for _, name := range names {
		if n := m.per(float64(kinds[name])); n >= 0.01 {
			text += fmt.Sprintf(", `%s` %.2f", name, n)
		}
	}
	return text[min(len(text), 2):]
}
