package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
)

// Wanted of the product, whatever the number of pools.
const (
	mostWrites = 10
	// Of a Build: its pod, the annotation that names it, and three statuses.
	mostBuildWrites = 5
	mostResident    = 64 // MB
	// A build may cost no more beside many pools than beside few; a tenth is noise.
	mostGrowth = 1.1
)

// of takes one value from each round.
func of[T any](rounds []T, value func(T) float64) figure.Samples {
	var samples figure.Samples
	for _, r := range rounds {
		samples = append(samples, value(r))
	}
	return samples
}

func (b *bench) tables() []figure.Table {
	var tables []figure.Table
	for _, pools := range b.options.sizes {
		s := b.sizes[pools]
		tables = append(tables, b.crowdTable(pools, s))
		if b.queue {
			tables = append(tables, b.queueTable(pools, s))
		}
		tables = append(tables, b.singleTable(pools, s), b.idleTable(pools, s), b.takeOverTable(pools, s))
	}
	if len(b.options.sizes) > 1 {
		tables = append(tables, b.growthTable())
	}
	return tables
}

// quantile is the nearest rank.
func quantile(samples figure.Samples, q float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}

func cost(rounds []work) []figure.Row {
	count := func(holds func(request) bool) func(work) float64 {
		return func(m work) float64 { return m.per(m.requests.count(holds)) }
	}
	return []figure.Row{
		{What: "writes of objects a build", Samples: of(rounds, count(request.objectWrite)), Limit: mostWrites},
		{What: "events a build", Samples: of(rounds, count(request.event))},
		{What: "reads a build", Samples: of(rounds, count(request.read))},
		{What: "syncs a build", Samples: of(rounds, func(m work) float64 { return m.per(m.queue("workqueue_work_duration_seconds_count")) })},
		{What: "processor time a build", Unit: "ms", Samples: of(rounds, work.milliseconds)},
		{What: "allocated a build", Unit: "MB", Samples: of(rounds, func(m work) float64 { return m.per(m.grown("go_memstats_alloc_bytes_total")) / 1e6 })},
		{What: "allocations a build, thousands", Samples: of(rounds, func(m work) float64 { return m.per(m.grown("go_memstats_mallocs_total")) / 1e3 })},
	}
}

func works(crowds []crowd) []work {
	var all []work
	for _, c := range crowds {
		all = append(all, c.work)
	}
	return all
}

func waiting(crowds []crowd) []figure.Row {
	queued := func(q float64) figure.Samples {
		return of(crowds, func(c crowd) float64 {
			return 1000 * c.ended.queueQuantile(c.began, "workqueue_queue_duration_seconds", q)
		})
	}
	toPod := func(q float64) figure.Samples {
		return of(crowds, func(c crowd) float64 { return quantile(c.toPod, q) })
	}
	return []figure.Row{
		{What: "a key's time in the work queue, p50", Unit: "ms", Samples: queued(0.5)},
		{What: "a key's time in the work queue, p99", Unit: "ms", Samples: queued(0.99)},
		{What: "label to pod, p50", Unit: "s", Samples: toPod(0.5)},
		{What: "label to pod, p99", Unit: "s", Samples: toPod(0.99)},
	}
}

func took(c crowd) float64 { return c.took.Seconds() }

func (b *bench) crowdTable(pools int, s *size) figure.Table {
	return figure.Table{
		Title: fmt.Sprintf("%d pools opted in at once, no limit in the way", pools),
		Rows: slices.Concat([]figure.Row{
			{What: "first label to last annotation", Unit: "s", Samples: of(s.crowds, took)},
			{What: "builds a second", Samples: of(s.crowds, func(c crowd) float64 { return c.builds / c.took.Seconds() })},
			{What: "most builds at once", Samples: of(s.crowds, func(c crowd) float64 { return float64(c.most) })},
		}, waiting(s.crowds), cost(works(s.crowds))),
		Notes: []string{"Requests of the last round, for each build: " + s.crowds[len(s.crowds)-1].listing() + "."},
	}
}

func (b *bench) queueTable(pools int, s *size) figure.Table {
	best := float64(pools) / float64(slots(pools)) * b.run.Seconds()
	return figure.Table{
		Title: fmt.Sprintf("%d pools opted in at once, %d builds at a time", pools, slots(pools)),
		Rows: slices.Concat([]figure.Row{
			{What: fmt.Sprintf("first label to last annotation; the pods alone take %.0f s", best), Unit: "s", Samples: of(s.queued, took)},
			{What: "a slot is empty between two builds", Unit: "s", Samples: of(s.queued, func(c crowd) float64 {
				return (c.took.Seconds() - best) * float64(slots(pools)) / float64(pools)
			})},
			{What: "most builds at once", Samples: of(s.queued, func(c crowd) float64 { return float64(c.most) }), Limit: float64(slots(pools))},
			{What: "most builds that overtook one whose pool was labelled 2 s before theirs", Samples: of(s.queued, func(c crowd) float64 { return float64(c.overtaken) })},
		}, waiting(s.queued), cost(works(s.queued))),
		Notes: []string{"Requests of the last round, for each build: " + s.queued[len(s.queued)-1].listing() + "."},
	}
}

func (b *bench) singleTable(pools int, s *size) figure.Table {
	var toPod figure.Samples
	var all []work
	for _, one := range s.singles {
		toPod = append(toPod, one.toPod...)
		all = append(all, one.work)
	}
	for i := range toPod {
		toPod[i] *= 1000
	}
	return figure.Table{
		Title: fmt.Sprintf("Builds one by one beside %d pools with finished builds", pools),
		Rows:  append([]figure.Row{{What: "label to pod", Unit: "ms", Samples: toPod, Limit: 150}}, cost(all)...),
	}
}

func (b *bench) idleTable(pools int, s *size) figure.Table {
	minute := func(count func(idle) float64) figure.Samples {
		return of(s.idles, func(i idle) float64 { return count(i) / i.took.Minutes() })
	}
	return figure.Table{
		Title: fmt.Sprintf("The controller, idle with %d opted-in pools that it has built", pools),
		Rows: []figure.Row{
			{What: "resident memory", Unit: "MB", Samples: of(s.idles, func(i idle) float64 { return mb(i.memory.Resident) }), Limit: mostResident},
			{What: "most resident memory since its start", Unit: "MB", Samples: of(s.idles, func(i idle) float64 { return mb(i.memory.Peak) })},
			{What: "heap in use", Unit: "MB", Samples: of(s.idles, func(i idle) float64 { return i.scrape.series["go_memstats_heap_inuse_bytes"] / 1e6 })},
			{What: "goroutines", Samples: of(s.idles, func(i idle) float64 { return i.scrape.series["go_goroutines"] })},
			{What: "a scrape of its metrics", Unit: "KiB", Samples: of(s.idles, func(i idle) float64 { return float64(i.scrape.bytes) / 1024 })},
			{What: "reads and writes a minute", Samples: minute(func(i idle) float64 { return i.requests.count(request.work) }), None: true},
			{What: "watches begun anew a minute", Samples: minute(func(i idle) float64 { return i.requests.count(request.watch) })},
			{What: "requests of the leader election a minute", Samples: minute(func(i idle) float64 { return i.requests.count(request.lease) })},
			{What: "processor time a minute", Unit: "ms", Samples: minute(func(i idle) float64 { return i.cpu.Seconds() * 1000 })},
		},
	}
}

func (b *bench) takeOverTable(pools int, s *size) figure.Table {
	return figure.Table{
		Title: fmt.Sprintf("After the leader's death, %d pools with finished builds", pools),
		Rows: []figure.Row{
			{What: "death to the lease of the next, which respects it for 15 s", Unit: "s", Samples: of(s.takeOvers, func(t takeOver) float64 { return t.toLease.Seconds() })},
			{What: "lease to the pod of a pool labelled at the death", Unit: "s", Samples: of(s.takeOvers, func(t takeOver) float64 { return t.toPod.Seconds() })},
			{What: "lease to the last request, that pool's build included", Unit: "s", Samples: of(s.takeOvers, func(t takeOver) float64 { return t.toQuiet.Seconds() })},
			{What: "requests, that pool's build included", Samples: of(s.takeOvers, func(t takeOver) float64 { return t.requests.count(request.work) })},
			{What: "processor time", Unit: "s", Samples: of(s.takeOvers, func(t takeOver) float64 { return t.cpu.Seconds() })},
			{What: "resident memory of the next", Unit: "MB", Samples: of(s.takeOvers, func(t takeOver) float64 { return mb(t.memory.Resident) }), Limit: mostResident},
			{What: "most resident memory of the next", Unit: "MB", Samples: of(s.takeOvers, func(t takeOver) float64 { return mb(t.memory.Peak) })},
		},
	}
}

// growthTable divides what a build costs with the most pools by what it costs
// with the fewest, round by round.
func (b *bench) growthTable() figure.Table {
	few, many := slices.Min(b.options.sizes), slices.Max(b.options.sizes)
	table := figure.Table{Title: fmt.Sprintf("A build with %d pools against one with %d", many, few)}
	for _, kind := range []struct {
		name  string
		works func(*size) []work
	}{
		{"at once", func(s *size) []work { return works(s.crowds) }},
		{"in the queue", func(s *size) []work { return works(s.queued) }},
		{"one by one", func(s *size) []work {
			var all []work
			for _, one := range s.singles {
				all = append(all, one.work)
			}
			return all
		}},
	} {
		before, after := cost(kind.works(b.sizes[few])), cost(kind.works(b.sizes[many]))
		for i := range before {
			table.Rows = append(table.Rows, figure.Row{
				What: kind.name + ": " + before[i].What, Unit: "×", Samples: after[i].Samples.Over(before[i].Samples), Limit: mostGrowth,
			})
		}
	}
	return table
}
