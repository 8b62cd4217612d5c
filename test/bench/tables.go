package main

import (
	"cmp"
	"fmt"
	"slices"
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

// moved is in KiB, and so is layer.
func moved(m measure.Build) float64 { return float64(m.Moved()) / 1024 }

func layer(m measure.Build) float64 { return float64(m.LayerBytes) / 1024 }

// byConfig are the rows of builds that append a layer of the config's bytes.
func byConfig(begin string, builds []measure.Build) []figure.Row {
	layer := of(builds, layer)
	return []figure.Row{
		{What: begin + " to digest annotation", Unit: "s", Samples: of(builds, labelToImage), Limit: 5},
		{What: "the builder's own work", Unit: "s", Samples: of(builds, measure.Build.Work), Limit: 1},
		{What: "bytes moved by the pod", Unit: "KiB", Samples: of(builds, moved), Limit: layer.Median() + 1024},
		{What: "size of the config layer", Unit: "KiB", Samples: layer},
		{What: "layers of the base that the registry served", Samples: of(builds, func(m measure.Build) float64 { return float64(m.BaseReads) })},
	}
}

func (b *bench) configOnlyTable() figure.Table {
	first := b.firstConfigOnly
	return figure.Table{
		Title: "A config alone",
		Rows: append(append(byConfig("label", b.configOnly),
			figure.Row{What: "label to annotation, against one RUN in the same round", Unit: "×", Samples: of(b.configOnly, labelToImage).Over(of(b.oneRun, labelToImage))},
		), breakdown(b.configOnly)...),
		Notes: []string{bound("A config alone", b.configOnly), fmt.Sprintf(
			"The first build on a base of %.0f MiB, which reads it once to learn what it holds: %.2f s from label to annotation, %.2f s the builder's own work.",
			mib(b.session.BaseBytes), labelToImage(first), first.Work())},
	}
}

func (b *bench) changeTable() figure.Table {
	return figure.Table{
		Title: "Another config for a pool that has its image",
		Rows: append(append(byConfig("change", b.changed),
			figure.Row{What: "change to annotation, against one RUN in the same round", Unit: "×", Samples: of(b.changed, labelToImage).Over(of(b.oneRun, labelToImage))},
		), breakdown(b.changed)...),
		Notes: []string{bound("A change", b.changed)},
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
		}, breakdown(b.oneRun)...),
		Notes: []string{bound("A build with one RUN", b.oneRun)},
	}
}

// bound says what most of the time of builds is.
func bound(what string, builds []measure.Build) string {
	steps := map[string]figure.Samples{}
	for _, build := range builds {
		for name, seconds := range build.Steps() {
			if !strings.HasSuffix(name, "/total") {
				steps[name] = append(steps[name], seconds)
			}
		}
	}
	longest := sortedKeys(steps)
	slices.SortStableFunc(longest, func(a, b string) int { return cmp.Compare(steps[b].Median(), steps[a].Median()) })
	var parts []string
	for _, name := range longest[:min(len(longest), 3)] {
		parts = append(parts, fmt.Sprintf("%s %.2f s", name, steps[name].Median()))
	}
	return fmt.Sprintf("%s takes %.2f s, of which the builder works %.2f s (%s); the rest is the cluster's.",
		what, of(builds, labelToImage).Median(), of(builds, measure.Build.Work).Median(), strings.Join(parts, ", "))
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
