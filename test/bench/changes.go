package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/measure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/workload"
)

// A large base, as images of operating systems are.
const (
	largeLayers = 20
	largeBytes  = 500 << 20
)

// rebuilds is how often an image is made again of the same inputs.
const rebuilds = 20

// orders builds new configs on a Dockerfile whose result is known, with the
// config below the steps and on top of them, in turns.
func (b *bench) orders(ctx context.Context) error {
	run := func(order, pool string) (measure.Build, error) {
		b.session.ConfigLayerOrder = order
		defer func() { b.session.ConfigLayerOrder = "" }()
		if err := b.session.PushTo(ctx, known, pool); err != nil {
			return measure.Build{}, err
		}
		return b.build(ctx, pool)
	}
	if _, err := run(api.ConfigLayerLast, "last-before"); err != nil {
		return err
	}
	for n := range b.options.rounds {
		first, err := run(api.ConfigLayerFirst, fmt.Sprintf("first-%d", n))
		if err != nil {
			return err
		}
		last, err := run(api.ConfigLayerLast, fmt.Sprintf("last-%d", n))
		if err != nil {
			return err
		}
		b.configFirst, b.configLast = append(b.configFirst, first), append(b.configLast, last)
	}
	return nil
}

// sizes builds configs of every size, and one on a base of many bytes, in turns.
func (b *bench) sizes(ctx context.Context) error {
	pullspec, err := b.session.PushLargeBase(largeLayers, largeBytes)
	if err != nil {
		return err
	}
	if err := b.session.PushTo(ctx, known); err != nil {
		return err
	}
	if b.firstLarge, err = b.onBase(ctx, pullspec, "first-large"); err != nil {
		return err
	}
	b.bySize = map[string][]measure.Build{}
	for n := range b.options.rounds {
		for i, size := range workload.Sizes {
			build, err := b.ofSize(ctx, size, fmt.Sprintf("size-%d-%d", i, n))
			if err != nil {
				return err
			}
			b.bySize[size.Name] = append(b.bySize[size.Name], build)
		}
		large, err := b.onBase(ctx, pullspec, fmt.Sprintf("large-%d", n))
		if err != nil {
			return err
		}
		b.large = append(b.large, large)
	}
	return nil
}

func (b *bench) ofSize(ctx context.Context, size workload.Size, pool string) (measure.Build, error) {
	was := b.session.MakeConfig
	defer func() { b.session.MakeConfig = was }()
	b.session.MakeConfig = size.Config
	return b.build(ctx, pool)
}

// onBase builds on a base of many bytes and layers.
func (b *bench) onBase(ctx context.Context, pullspec, pool string) (measure.Build, error) {
	if err := b.session.UseBase(ctx, pullspec); err != nil {
		return measure.Build{}, err
	}
	b.largeBytes = b.session.BaseBytes
	build, err := b.build(ctx, pool)
	if err != nil {
		return build, err
	}
	return build, b.session.UseBase(ctx, b.session.BaseImage)
}

// again makes images anew of the same inputs and counts how many differ.
func (b *bench) again(ctx context.Context) error {
	b.differing = map[string]int{}
	for _, kind := range []struct {
		name, pool  string
		dockerfiles []string
	}{{"a config alone", "again-config", nil}, {"a custom Dockerfile", "again-run", []string{"again-run"}}} {
		if err := b.session.PushTo(ctx, known, kind.dockerfiles...); err != nil {
			return err
		}
		first, err := b.session.Run(ctx, kind.pool)
		if err != nil {
			return err
		}
		images := map[string]bool{first.Image: true}
		for n := range rebuilds {
			image, err := b.session.Rebuild(ctx, kind.pool, first.Config, strconv.Itoa(n))
			if err != nil {
				return err
			}
			images[image] = true
		}
		b.say("  %s: %d images of %d builds", kind.name, len(images), 1+rebuilds)
		b.differing[kind.name] = len(images)
		if err := b.session.Remove(ctx, kind.pool); err != nil {
			return err
		}
	}
	return nil
}

// renderLine is a line of "go test -bench -benchmem".
var renderLine = regexp.MustCompile(`^BenchmarkPools(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op\s+([0-9.]+) B/op\s+([0-9.]+) allocs/op`)

// rendering runs the benchmark of pkg/render.
func (b *bench) rendering(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkPools$", "-benchmem",
		"-benchtime", "1x", "-count", strconv.Itoa(b.options.rounds), "./pkg/render")
	cmd.Dir = b.session.Root
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("running the benchmark of pkg/render: %w\n%s", err, out)
	}
	b.render = parseRendering(string(out))
	return nil
}

// rendering figures of 1,000 pools.
type rendering struct{ seconds, megabytes, allocations figure.Samples }

func parseRendering(out string) rendering {
	var r rendering
	for line := range strings.Lines(out) {
		match := renderLine.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		var figures [3]float64
		for i := range figures {
			figures[i], _ = strconv.ParseFloat(match[i+1], 64) // the expression lets numbers through alone
		}
		r.seconds, r.megabytes = append(r.seconds, figures[0]/1e9), append(r.megabytes, figures[1]/1e6)
		r.allocations = append(r.allocations, figures[2]/1e6)
	}
	return r
}

func (b *bench) ordersTable() figure.Table {
	first, last := b.configFirst, b.configLast
	return figure.Table{
		Title: "A new config with a custom Dockerfile whose result is known",
		Rows: append([]figure.Row{
			{What: "config first: label to digest annotation", Unit: "s", Samples: of(first, labelToImage)},
			{What: "config last: label to digest annotation", Unit: "s", Samples: of(last, labelToImage)},
			{What: "last against first", Unit: "×", Samples: of(last, labelToImage).Over(of(first, labelToImage))},
			{What: "config first: the builder's own work", Unit: "s", Samples: of(first, measure.Build.Work)},
			{What: "config last: the builder's own work", Unit: "s", Samples: of(last, measure.Build.Work), Limit: 2},
			{What: "last against first", Unit: "×", Samples: of(last, measure.Build.Work).Over(of(first, measure.Build.Work))},
			{What: "config first: bytes moved by the pod", Unit: "KiB", Samples: of(first, moved)},
			{What: "config last: bytes moved by the pod", Unit: "KiB", Samples: of(last, moved)},
		}, breakdown(last)...),
		Notes: []string{bound("Config first", first), bound("Config last", last)},
	}
}

func (b *bench) sizesTable() figure.Table {
	table := figure.Table{Title: "A config alone, by its size and that of the base"}
	add := func(name string, builds []measure.Build) {
		table.Rows = append(table.Rows,
			figure.Row{What: name + ": label to digest annotation", Unit: "s", Samples: of(builds, labelToImage)},
			figure.Row{What: name + ": the builder's own work", Unit: "s", Samples: of(builds, measure.Build.Work), Limit: 1},
			figure.Row{What: name + ": bytes moved by the pod", Unit: "KiB", Samples: of(builds, moved), Limit: of(builds, layer).Median() + 1024},
		)
		table.Notes = append(table.Notes, bound(name, builds))
	}
	for _, size := range workload.Sizes {
		add(size.Name, b.bySize[size.Name])
	}
	add("large base", b.large)
	table.Rows = append(table.Rows, figure.Row{
		What: "large base: the builder's own work, against 100 KB in the same round", Unit: "×",
		Samples: of(b.large, measure.Build.Work).Over(of(b.bySize["100 KB"], measure.Build.Work)),
	})
	table.Notes = append(table.Notes, fmt.Sprintf("The large base has %d layers and %.0f MiB; the first build on it took %.2f s from label to annotation, %.2f s the builder's own work.",
		largeLayers, mib(b.largeBytes), labelToImage(b.firstLarge), b.firstLarge.Work()))
	return table
}

func (b *bench) againTable() figure.Table {
	table := figure.Table{Title: fmt.Sprintf("Images that differ, of %d builds of the same inputs", 1+rebuilds)}
	for _, kind := range sortedKeys(b.differing) {
		table.Rows = append(table.Rows, figure.Row{What: kind, Samples: figure.Samples{float64(b.differing[kind])}, Limit: 1})
	}
	return table
}

func (b *bench) renderTable() figure.Table {
	return figure.Table{
		Title: "Rendering 1,000 pools with 20 MachineConfigs each",
		Rows: []figure.Row{
			{What: "time, on one processor", Unit: "s", Samples: b.render.seconds},
			{What: "allocated", Unit: "MB", Samples: b.render.megabytes},
			{What: "allocations, millions", Samples: b.render.allocations},
		},
	}
}
