package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/measure"
)

// Repositories of the session. The base's index is learned in the first build
// into one, so that every build into a new one finds nothing.
const known = "os"

// bench is what was measured so far.
type bench struct {
	options
	session *measure.Session
	begin   time.Time
	drivers *measure.Drivers

	firstConfigOnly    measure.Build
	configOnly, oneRun []measure.Build
	changed            []measure.Build
	overlay, vfs       figure.Samples
	countedConfigOnly  counted
	countedOneRun      counted
	resident, peak     figure.Samples
	binary             int64
	layers             map[string]figure.Samples

	configFirst, configLast []measure.Build
	coldEdit, warmEdit      []measure.Build
	byPod, byBuild          []measure.Build
	bySize                  map[string][]measure.Build
	firstLarge              measure.Build
	large                   []measure.Build
	largeBytes              int64
	differing               map[string]int
	render                  rendering
}

// counted are builds with their writes.
type counted struct {
	builds []measure.Build
	writes []measure.Writes
}

// say tells of progress.
func (b *bench) say(format string, args ...any) {
	fmt.Printf("%4.0fs  %s\n", time.Since(b.begin).Seconds(), fmt.Sprintf(format, args...))
}

// build runs one build and takes its pool away.
func (b *bench) build(ctx context.Context, pool string) (measure.Build, error) {
	build, err := b.session.Run(ctx, pool)
	if err != nil {
		return build, err
	}
	b.say("  %s: %.2f s from label to image, of which %.2f s the builder's work", pool, build.Since("", measure.Annotated), build.Work())
	return build, b.session.Remove(ctx, pool)
}

// learnBase makes the first build on a base that the repository does not know.
func (b *bench) learnBase(ctx context.Context) error {
	if err := b.session.PushTo(ctx, known); err != nil {
		return err
	}
	var err error
	b.firstConfigOnly, err = b.build(ctx, "first-config-only")
	return err
}

// prepareDrivers makes the pod that compares storage drivers.
func (b *bench) prepareDrivers(ctx context.Context) error {
	const pool = "first-one-run"
	if err := b.session.PushTo(ctx, known, pool); err != nil {
		return err
	}
	var err error
	if b.drivers, err = b.session.NewDrivers(ctx, pool); err != nil {
		return err
	}
	return b.session.Remove(ctx, pool)
}

// rounds takes each kind of build once a round, so that whatever else the
// machine does meets all of them alike.
func (b *bench) rounds(ctx context.Context) error {
	if err := b.prepareDrivers(ctx); err != nil {
		return err
	}
	for n := range b.options.rounds {
		if err := b.session.PushTo(ctx, known); err != nil {
			return err
		}
		if err := b.configAndChange(ctx, fmt.Sprintf("config-only-%d", n)); err != nil {
			return err
		}

		pool := fmt.Sprintf("one-run-%d", n)
		if err := b.session.PushTo(ctx, fmt.Sprintf("new-%d", n), pool); err != nil {
			return err
		}
		build, err := b.build(ctx, pool)
		if err != nil {
			return err
		}
		b.oneRun = append(b.oneRun, build)

		overlay, vfs, err := b.drivers.Round(ctx)
		if err != nil {
			return err
		}
		b.say("  the same Dockerfile in one pod: overlay %.2f s, vfs %.2f s", overlay, vfs)
		b.overlay, b.vfs = append(b.overlay, overlay), append(b.vfs, vfs)
	}
	return nil
}

// configAndChange builds a new pool, and then another config for it.
func (b *bench) configAndChange(ctx context.Context, pool string) error {
	first, err := b.session.Run(ctx, pool)
	if err != nil {
		return err
	}
	changed, err := b.session.Change(ctx, pool, first)
	if err != nil {
		return err
	}
	b.say("  %s: %.2f s from label to image, of which %.2f s the builder's work; another config %.2f s and %.2f s", pool,
		labelToImage(first), first.Work(), labelToImage(changed), changed.Work())
	b.configOnly, b.changed = append(b.configOnly, first), append(b.changed, changed)
	return b.session.Remove(ctx, pool)
}

// countWrites puts a controller whose requests are counted in the place of the
// deployed one.
func (b *bench) countWrites(ctx context.Context) (err error) {
	controller, err := b.session.StartCounted(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if stopErr := controller.Stop(ctx); err == nil {
			err = stopErr
		}
	}()
	for n := range b.options.rounds {
		configOnly, oneRun := fmt.Sprintf("config-only-%d", n), fmt.Sprintf("one-run-%d", n)
		if err := b.session.PushTo(ctx, known, oneRun); err != nil {
			return err
		}
		if err := b.count(ctx, controller, configOnly, &b.countedConfigOnly); err != nil {
			return err
		}
		if err := b.count(ctx, controller, oneRun, &b.countedOneRun); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) count(ctx context.Context, controller *measure.Counted, pool string, into *counted) error {
	build, writes, err := controller.Run(ctx, pool)
	if err != nil {
		return err
	}
	b.say("  %s: %d writes, %d events, %.0f syncs, %.2f s", pool, len(writes.Objects), len(writes.Events), build.Syncs, build.Since("", measure.Annotated))
	into.builds, into.writes = append(into.builds, build), append(into.writes, writes)
	return b.session.Remove(ctx, pool)
}

// memory builds many pools with a new controller process, leaves it alone and
// reads what it holds. The config layer's benchmarks run in the idle time.
func (b *bench) memory(ctx context.Context) error {
	if err := b.session.PushTo(ctx, known); err != nil {
		return err
	}
	if err := b.session.BuildPools(ctx, b.pools); err != nil {
		return err
	}
	b.say("  %d pools are built; idle for %s", b.pools, b.idle)
	idle := time.NewTimer(b.idle)
	defer idle.Stop()
	var err error
	if b.layers, err = layerBenchmarks(ctx, b.session.Root, b.options.rounds); err != nil {
		return err
	}
	for n := range b.options.rounds {
		select {
		case <-idle.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		idle.Reset(time.Second)
		memory, err := b.session.ControllerMemory(ctx)
		if err != nil {
			return err
		}
		b.resident, b.peak = append(b.resident, mb(memory.Resident)), append(b.peak, mb(memory.Peak))
		if n == 0 {
			b.say("  resident %.1f MB, at most %.1f MB", mb(memory.Resident), mb(memory.Peak))
		}
	}
	info, err := os.Stat(filepath.Join(b.session.Root, "bin", "machine-os-builder"))
	if err != nil {
		return fmt.Errorf("measuring the controller's program: %w", err)
	}
	b.binary = info.Size()
	return nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// sortedKeys of a map, for tables.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
