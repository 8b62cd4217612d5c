package measure

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// quiet is how long nothing happens before a build and after it, so that its
// syncs and writes are counted, all of them and no others.
const quiet = 2 * time.Second

// patience is when the bench gives a build up, however busy the machine is: how long it
// took is for the reader to judge.
const patience = 20 * time.Minute

// Build is what was measured of one build.
type Build struct {
	Config   string
	Labelled time.Time
	Marks    map[Mark]time.Time
	// Results are what the containers reported, by name.
	Results map[string]buildspec.Result
	Image   string
	// LayerBytes is the compressed size of what lies above the base.
	LayerBytes int64
	// BaseReads is how often the registry served a layer of the base meanwhile.
	BaseReads int
	// Syncs of the controller, from the label until the build's objects were gone.
	Syncs float64
}

// Since is the time from one mark to another in seconds; from the label when
// from is empty.
func (b Build) Since(from, to Mark) float64 {
	start := b.Labelled
	if from != "" {
		start = b.Marks[from]
	}
	return b.Marks[to].Sub(start).Seconds()
}

// Work is what the containers' programs say they took, in seconds.
func (b Build) Work() float64 {
	sum := 0.0
	for _, r := range b.Results {
		sum += timing(r, "total")
	}
	return sum
}

// Step is the time of one part of the work; 0 when there was none of that name.
func (b Build) Step(container, name string) float64 { return timing(b.Results[container], name) }

func timing(r buildspec.Result, name string) float64 {
	for _, t := range r.Timings {
		if t.Name == name {
			return t.Seconds
		}
	}
	return 0
}

// Moved is how many bytes the containers moved over the network.
func (b Build) Moved() int64 {
	sum := int64(0)
	for _, r := range b.Results {
		sum += r.BytesPulled + r.BytesPushed
	}
	return sum
}

// Steps lists all parts of the work, as "container/part".
func (b Build) Steps() map[string]float64 {
	steps := map[string]float64{}
	for container, r := range b.Results {
		for _, t := range r.Timings {
			steps[container+"/"+t.Name] = t.Seconds
		}
	}
	return steps
}

// Run opts a new pool in to a new config, and follows the build to the
// annotation and until its objects are gone. The pool stays; Remove removes it.
func (s *Session) Run(ctx context.Context, pool string) (Build, error) {
	return s.run(ctx, pool, nil)
}

// run is Run; seen is called while the build's inputs still exist.
func (s *Session) run(ctx context.Context, pool string, seen func(context.Context, *timeline) error) (Build, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	config, err := s.newConfig(ctx, pool)
	if err != nil {
		return Build{}, err
	}
	if err := s.AddPool(ctx, pool, config); err != nil {
		return Build{}, err
	}
	return s.measure(ctx, Build{Config: config}, pool, func() error { return s.OptIn(ctx, pool) }, seen)
}

// Edit gives a pool another custom Dockerfile once it has been built, and follows the
// build as Run does, from the edit instead of the label.
func (s *Session) Edit(ctx context.Context, pool string, built Build, dockerfile string) (Build, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	return s.measure(ctx, built, pool, func() error { return s.SetDockerfile(ctx, pool, dockerfile) }, nil)
}

// Change makes a built pool target a new config, and follows the build as Run does, from
// that instead of the label.
func (s *Session) Change(ctx context.Context, pool string, built Build) (Build, error) {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	config, err := s.newConfig(ctx, pool)
	if err != nil {
		return Build{}, err
	}
	return s.measure(ctx, Build{Config: config, Image: built.Image}, pool, func() error { return s.Target(ctx, pool, config) }, nil)
}

// measure follows the build that begin asks for; before is the pool's last one.
func (s *Session) measure(ctx context.Context, before Build, pool string, begin func() error, seen func(context.Context, *timeline) error) (Build, error) {
	t, err := follow(ctx, s.Cluster, s.pods(pool, before.Config), pool, before.Config, before.Image)
	if err != nil {
		return Build{}, err
	}
	traffic, err := s.WatchRegistry()
	if err != nil {
		return Build{}, err
	}
	// What the new pool itself gives the controller to do belongs to no build.
	if err := pause(ctx, quiet); err != nil {
		return Build{}, err
	}
	syncs, err := s.syncs(ctx)
	if err != nil {
		return Build{}, err
	}
	labelled := time.Now()
	if err := begin(); err != nil {
		return Build{}, err
	}
	if seen != nil {
		if err := seen(ctx, t); err != nil {
			return Build{}, err
		}
	}
	select {
	case err = <-t.ended:
	case <-ctx.Done():
		err = fmt.Errorf("waiting for the image of pool %q: %w", pool, context.Cause(ctx))
	}
	if err != nil {
		return Build{}, err
	}
	build, err := s.collect(ctx, t, labelled, traffic)
	if err != nil {
		return Build{}, err
	}
	after, err := s.syncs(ctx)
	build.Syncs = after - syncs
	return build, err
}

// collect waits for the end of the build's objects and reads what is left.
func (s *Session) collect(ctx context.Context, t *timeline, labelled time.Time, traffic live.Traffic) (Build, error) {
	err := live.Eventually(ctx, "the build's objects are gone", func(ctx context.Context) error {
		return s.onlyRecords(ctx, t.pool)
	})
	if err != nil {
		return Build{}, err
	}
	if err := pause(ctx, quiet); err != nil {
		return Build{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	build := Build{Config: t.config, Labelled: labelled, Marks: t.marks, Results: live.Results(t.pod), Image: t.image}
	image, err := s.OpenImage(t.image)
	if err != nil {
		return build, err
	}
	own, err := image.LayersAbove(s.base)
	if err != nil {
		return build, err
	}
	for _, layer := range own {
		size, err := layer.Size()
		if err != nil {
			return build, fmt.Errorf("measuring a layer of %s: %w", t.image, err)
		}
		build.LayerBytes += size
	}
	read, err := traffic.BlobsRead()
	if err != nil {
		return build, err
	}
	for _, digest := range read {
		if slices.Contains(s.baseLayers, digest) {
			build.BaseReads++
		}
	}
	return build, nil
}

func (s *Session) onlyRecords(ctx context.Context, pool string) error {
	objects, err := s.BuildObjects(ctx, pool)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if !strings.HasPrefix(object, "configmap/"+names.Record("")) {
			return fmt.Errorf("still there: %s", object)
		}
	}
	return nil
}

// pause waits; its error is the context's.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
