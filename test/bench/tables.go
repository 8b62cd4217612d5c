package main

import (
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/bench/measure"
)

// of takes one value from each build.
func of(builds []measure.Build, value func(measure.Build) float64) figure.Samples {
	var samples figure.Samples
	for _, b := range builds {
		samples = append(samples, value(b))
	}
	return samples
}

func between(from, to measure.Mark) func(measure.Build) float64 {
	return func(b measure.Build) float64 { return b.Since(from, to) }
}

func labelToImage(b measure.Build) float64 { return b.Since("", measure.Annotated) }

func (b *bench) configOnlyTable() figure.Table {
	moved := func(m measure.Build) float64 { return float64(m.Moved()) / 1024 }
	layer := of(b.configOnly, func(m measure.Build) float64 { return float64(m.LayerBytes) / 1024 })
	first := b.firstConfigOnly
	return figure.Table{
		Title: "A config alone",
		Rows: append([]figure.Row{
			{What: "label to digest annotation", Unit: "s", Samples: of(b.configOnly, labelToImage), Limit: 5},
			{What: "the builder's own work", Unit: "s", Samples: of(b.configOnly, measure.Build.Work), Limit: 1},
			{What: "bytes moved by the pod", Unit: "KiB", Samples: of(b.configOnly, moved), Limit: layer.Median() + 1024},
			{What: "size of the config layer", Unit: "KiB", Samples: layer},
			{What: "layers of the base that the registry served", Samples: of(b.configOnly, func(m measure.Build) float64 { return float64(m.BaseReads) })},
			{What: "label to annotation, against one RUN in the same round", Unit: "×", Samples: of(b.configOnly, labelToImage).Over(of(b.oneRun, labelToImage))},
		}, breakdown(b.configOnly)...),
		Notes: []string{fmt.Sprintf(
			"The first build on a base of %.0f MiB, which reads it once to learn what it holds: %.2f s from label to annotation, %.2f s the builder's own work.",
			mib(b.session.BaseBytes), labelToImage(first), first.Work())},
	}
}

func (b *bench) oneRunTable() figure.Table {
	step := of(b.oneRun, func(m measure.Build) float64 { return m.Step(api.ContainerBuild, "build") })
	return figure.Table{
		Title: "A custom Dockerfile with one RUN, nothing cached",
		Rows: append([]figure.Row{
			{What: "label to digest annotation", Unit: "s", Samples: of(b.oneRun, labelToImage), Limit: 15},
			{What: "the builder's own work", Unit: "s", Samples: of(b.oneRun, measure.Build.Work)},
			{What: "the build step in it", Unit: "s", Samples: step},
			{What: "the same Dockerfile in one pod: overlay", Unit: "s", Samples: b.overlay},
			{What: "the same Dockerfile in one pod: vfs", Unit: "s", Samples: b.vfs},
			{What: "overlay against vfs in one pod", Unit: "×", Samples: b.overlay.Over(b.vfs), Limit: 1.0 / 3},
			{What: "the product's build step against vfs", Unit: "×", Samples: step.Over(b.vfs), Limit: 1.0 / 3},
			{What: "label to annotation where the base is known", Unit: "s", Samples: of(b.countedOneRun.builds, labelToImage)},
		}, breakdown(b.oneRun)...),
	}
}

// breakdown says where the time goes.
func breakdown(builds []measure.Build) []figure.Row {
	rows := []figure.Row{
		{What: "– label to pod", Unit: "s", Samples: of(builds, between("", measure.PodCreated))},
		{What: "– pod to scheduled", Unit: "s", Samples: of(builds, between(measure.PodCreated, measure.Scheduled))},
		{What: "– scheduled to the first container seen", Unit: "s", Samples: of(builds, between(measure.Scheduled, measure.Running))},
		{What: "– first container to pod ended", Unit: "s", Samples: of(builds, between(measure.Running, measure.PodEnded))},
		{What: "– pod ended to annotation", Unit: "s", Samples: of(builds, between(measure.PodEnded, measure.Annotated))},
	}
	steps := map[string]figure.Samples{}
	for _, build := range builds {
		for name, seconds := range build.Steps() {
			steps[name] = append(steps[name], seconds)
		}
	}
	for _, name := range sortedKeys(steps) {
		rows = append(rows, figure.Row{What: "– in the builder: " + name, Unit: "s", Samples: steps[name]})
	}
	return rows
}

func (b *bench) podTable() figure.Table {
	milliseconds := func(builds []measure.Build) figure.Samples {
		return of(builds, func(m measure.Build) float64 { return m.Since("", measure.PodCreated) * 1000 })
	}
	return figure.Table{
		Title: "Label to build pod created",
		Rows: []figure.Row{
			{What: "a config alone", Unit: "ms", Samples: milliseconds(b.configOnly), Limit: 150},
			{What: "a custom Dockerfile", Unit: "ms", Samples: milliseconds(b.oneRun), Limit: 150},
		},
	}
}

func (b *bench) writesTable() figure.Table {
	table := figure.Table{Title: "Writes and syncs of a build"}
	for _, kind := range []struct {
		name     string
		counted  counted
		deployed []measure.Build
	}{{"a config alone", b.countedConfigOnly, b.configOnly}, {"a custom Dockerfile", b.countedOneRun, b.oneRun}} {
		var objects, events figure.Samples
		for _, w := range kind.counted.writes {
			objects, events = append(objects, float64(len(w.Objects))), append(events, float64(len(w.Events)))
		}
		syncs := func(m measure.Build) float64 { return m.Syncs }
		table.Rows = append(table.Rows,
			figure.Row{What: kind.name + ": writes of objects", Samples: objects, Limit: 10},
			figure.Row{What: kind.name + ": events", Samples: events},
			figure.Row{What: kind.name + ": syncs", Samples: of(kind.counted.builds, syncs), Limit: 8},
			figure.Row{What: kind.name + ": syncs of the deployed controller", Samples: of(kind.deployed, syncs), Limit: 8},
		)
		if last := len(kind.counted.writes) - 1; last >= 0 {
			w := kind.counted.writes[last]
			table.Notes = append(table.Notes, fmt.Sprintf("The last build of %s wrote: %s. Events: %s.", kind.name, list(w.Objects), list(w.Events)))
		}
	}
	return table
}

func list(items []string) string { return "`" + strings.Join(items, "`, `") + "`" }

func (b *bench) memoryTable() figure.Table {
	return figure.Table{
		Title: fmt.Sprintf("The controller, idle with %d opted-in pools that it has built", b.pools),
		Rows: []figure.Row{
			{What: "resident memory", Unit: "MB", Samples: b.resident, Limit: 45},
			{What: "most resident memory since its start", Unit: "MB", Samples: b.peak},
			{What: "size of the program", Unit: "MB", Samples: figure.Samples{mb(b.binary)}},
		},
	}
}

func (b *bench) layerTable() figure.Table {
	table := figure.Table{Title: "Making a config layer, by the size of the config"}
	for _, size := range sortedKeys(b.layers) {
		table.Rows = append(table.Rows, figure.Row{What: size, Unit: "ms", Samples: b.layers[size]})
	}
	return table
}
