package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
)

// bench is what was measured so far.
type bench struct {
	options
	begin time.Time
	sizes map[int]*size
	// executed are rounds of the executor.
	executed []executed
}

// size is what was measured with one number of pools, a value each round.
type size struct {
	crowds    []crowd
	idles     []idle
	singles   []single
	takeOvers []takeOver
	// queued are crowds that had to wait, see slots.
	queued []crowd
}

// slots is the limit that makes a crowd wait: the default for 100 pools, and
// for more as many more, so that the pods' own time stays the same.
func slots(pools int) int { return max(1, buildconfig.DefaultMaxConcurrentBuilds*pools/100) }

// say tells of progress.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%4.0fs  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

// round takes all figures of a number of pools once.
func (b *bench) round(ctx context.Context, pools int) error {
	if b.sizes[pools] == nil {
		b.sizes[pools] = &size{}
	}
	into := b.sizes[pools]
	err := b.in(ctx, pools, pools, func(w *world, r *replica, names []string) error {
		return b.unlimited(ctx, into, w, r, names)
	})
	if err != nil || !b.queue {
		return err
	}
	return b.in(ctx, pools, slots(pools), func(w *world, r *replica, names []string) error {
		if err := r.profile("cpu", b.profiles, fmt.Sprintf("queue-%d", pools)); err != nil {
			return err
		}
		c, err := w.buildAll(ctx, r, names)
		if err != nil {
			return err
		}
		if err := r.profile("heap", b.profiles, fmt.Sprintf("queue-%d", pools)); err != nil {
			return err
		}
		into.queued = append(into.queued, c)
		b.say("  with a limit of %d: all built in %.1f s, %.1f writes, %.1f reads, %.1f ms processor time a build; at most %d overtook one", w.limit, c.took.Seconds(),
			c.per(c.requests.count(request.objectWrite)), c.per(c.requests.count(request.read)), c.milliseconds(), c.overtaken)
		return w.verify(ctx, names)
	})
}

// in does something in a world of its own with a leader that is quiet.
func (b *bench) in(ctx context.Context, pools, limit int, do func(w *world, r *replica, names []string) error) error {
	w, err := newPoolWorld(ctx, subject{name: controllerName, path: b.program, loop: "osbuild"}, limit, b.run)
	if err != nil {
		return err
	}
	defer w.close()
	names, err := w.makePools(ctx, "many", pools)
	if err != nil {
		return err
	}
	r, err := w.startReplica(ctx, "first")
	if err != nil {
		return err
	}
	if _, err := w.quiet(ctx); err != nil {
		return err
	}
	if err := do(w, r, names); err != nil {
		last := w.replicas[len(w.replicas)-1]
		return fmt.Errorf("%w\nThe controller said last:\n%s", err, last.said())
	}
	return nil
}

// unlimited takes the figures that need no queue: all pools at once, the rest
// after that, single builds beside them, and a leader's death.
func (b *bench) unlimited(ctx context.Context, into *size, w *world, r *replica, names []string) error {
	if err := r.profile("cpu", b.profiles, fmt.Sprintf("crowd-%d", len(names))); err != nil {
		return err
	}
	c, err := w.buildAll(ctx, r, names)
	if err != nil {
		return err
	}
	if err := r.profile("heap", b.profiles, fmt.Sprintf("crowd-%d", len(names))); err != nil {
		return err
	}
	into.crowds = append(into.crowds, c)
	b.say("  all built in %.1f s: %.1f writes, %.1f reads, %.1f ms processor time a build; at most %d at once",
		c.took.Seconds(), c.per(c.requests.count(request.objectWrite)), c.per(c.requests.count(request.read)), c.milliseconds(), c.most)
	if err := w.verify(ctx, names); err != nil {
		return err
	}
	i, err := w.rest(ctx, r, b.idle)
	if err != nil {
		return err
	}
	into.idles = append(into.idles, i)
	b.say("  idle: %.1f MB resident, at most %.1f MB, %.0f requests", mb(i.memory.Resident), mb(i.memory.Peak), i.requests.count(request.work))

	more, err := w.makePools(ctx, "more", b.single+1)
	if err != nil {
		return err
	}
	if _, err := w.quiet(ctx); err != nil {
		return err
	}
	one, heir := more[:b.single], more[b.single]
	s, err := w.buildOneByOne(ctx, r, one)
	if err != nil {
		return err
	}
	into.singles = append(into.singles, s)
	b.say("  one by one: %.0f ms from label to pod, %.1f writes, %.1f reads, %.1f ms processor time a build",
		s.toPod.Median()*1000, s.per(s.requests.count(request.objectWrite)), s.per(s.requests.count(request.read)), s.milliseconds())
	_, t, err := w.dethrone(ctx, r, "second", heir)
	if err != nil {
		return err
	}
	into.takeOvers = append(into.takeOvers, t)
	b.say("  after the leader's death: lease %.1f s, pod %.1f s and quiet %.1f s later, %.0f requests, %.1f s processor time, %.1f MB resident, at most %.1f MB",
		t.toLease.Seconds(), t.toPod.Seconds(), t.toQuiet.Seconds(), t.requests.count(request.work), t.cpu.Seconds(), mb(t.memory.Resident), mb(t.memory.Peak))
	return w.verify(ctx, slices.Concat(names, more))
}

// milliseconds of processor time a build.
func (m work) milliseconds() float64 { return m.per(float64(m.cpu) / float64(time.Millisecond)) }

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }
