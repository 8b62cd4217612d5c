package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
)

// phase is a part of the bench that can be run alone.
type phase struct {
	name, about string
	do          func(*bench, context.Context) error
	tables      func(*bench) []figure.Table
}

// one is for phases with one table.
func one(table func(*bench) figure.Table) func(*bench) []figure.Table {
	return func(b *bench) []figure.Table { return []figure.Table{table(b)} }
}

// phases in the order that they run, since one leaves to the next a cluster with a history.
var phases = []phase{
	{"rounds", "rounds", (*bench).rounds, func(b *bench) []figure.Table {
		return []figure.Table{b.configOnlyTable(), b.changeTable(), b.oneRunTable(), b.podTable()}
	}},
	{"order", "new configs on known steps", (*bench).orders, one((*bench).ordersTable)},
	{"cache", "edits of a Dockerfile whose steps are kept", (*bench).edits, one((*bench).editsTable)},
	{"builds", "the same pool by a pod and by a Build", (*bench).builders, one((*bench).buildersTable)},
	{"sizes", "configs of many sizes, and a large base", (*bench).sizes, one((*bench).sizesTable)},
	{"again", "the same inputs again", (*bench).again, one((*bench).againTable)},
	{"render", "rendering", (*bench).rendering, one((*bench).renderTable)},
	{"writes", "counting writes", (*bench).countWrites, one((*bench).writesTable)},
	{"memory", "memory", (*bench).memory, func(b *bench) []figure.Table {
		return []figure.Table{b.memoryTable(), b.layerTable()}
	}},
}

func phaseNames() []string {
	var names []string
	for _, p := range phases {
		names = append(names, p.name)
	}
	return names
}

// selected are the phases that are asked for.
func (b *bench) selected() ([]phase, error) {
	if b.options.phases == "" {
		return phases, nil
	}
	asked := strings.Split(b.options.phases, ",")
	for _, name := range asked {
		if !slices.Contains(phaseNames(), name) {
			return nil, fmt.Errorf("-phases: %q is not known; use %s", name, strings.Join(phaseNames(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(phases), func(p phase) bool { return !slices.Contains(asked, p.name) }), nil
}
