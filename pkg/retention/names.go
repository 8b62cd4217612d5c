package retention

import (
	"slices"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// Names are the images that nodes, pools, settings and records name. The zero
// value names none.
type Names struct {
	// pullspecs are digests, and what has none as it stands.
	pullspecs map[string]bool
	// holders are, by digest, the pools that have it as their result or in a record.
	holders map[string][]holder
	// steps are, by digest, the pools with images made of what steps left.
	steps map[string][]string
}

type holder struct {
	pool     string
	result   bool
	finished time.Time
}

// Add takes up a pullspec; an empty one is none. One with a digest counts in
// every repository: the same image may be reached by several names of a registry.
func (n *Names) Add(pullspec string) {
	if pullspec == "" {
		return
	}
	if n.pullspecs == nil {
		n.pullspecs = map[string]bool{}
	}
	n.pullspecs[digestOf(pullspec)] = true
}

// AddResult takes up the image that a pool has as its result.
func (n *Names) AddResult(pool, image string) {
	if image != "" {
		n.addHolder(image, holder{pool: pool, result: true})
	}
}

// AddRecord takes up what a record names.
func (n *Names) AddRecord(r osbuild.Record) {
	n.Add(r.Inputs.BaseImage)
	n.Add(r.Inputs.ExtensionsImage)
	for _, e := range entriesOf(r) {
		n.addHolder(e.Pullspec, holder{pool: r.Pool.Name, finished: e.finished})
		if e.Steps == "" {
			continue
		}
		if n.steps == nil {
			n.steps = map[string][]string{}
		}
		n.steps[digestOf(e.Steps)] = append(n.steps[digestOf(e.Steps)], r.Pool.Name)
	}
}

func (n *Names) addHolder(image string, h holder) {
	if n.holders == nil {
		n.holders = map[string][]holder{}
	}
	n.holders[digestOf(image)] = append(n.holders[digestOf(image)], h)
}

// last returns an image without the steps' result that it was made of, unless no
// other image of its pool, nor any of another pool, is.
func (n Names) last(pool string, i Image, ofPool []entry) Image {
	if n.pullspecs[digestOf(i.Steps)] ||
		slices.ContainsFunc(ofPool, func(e entry) bool { return e.Steps == i.Steps && e.Pullspec != i.Pullspec }) ||
		slices.ContainsFunc(n.steps[digestOf(i.Steps)], func(other string) bool { return other != pool }) {
		i.Steps = ""
	}
	return i
}

// hold is true when an image of a pool is named by something else than that pool.
func (n Names) hold(pool string, e entry) bool {
	digest := digestOf(e.Pullspec)
	if n.pullspecs[digest] || e.own && n.pullspecs[e.Repository()+":"+names.Tag(e.RenderedConfig)] {
		return true
	}
	// Who names an index by one of its images runs it.
	if slices.ContainsFunc(e.Members, func(member string) bool { return n.pullspecs[member] }) {
		return true
	}
	return slices.ContainsFunc(n.holders[digest], func(h holder) bool { return h.pool != pool && h.outlasts(e, pool) })
}

// outlasts is true for a result, and for the newer of two records; of two that
// are as old as each other one has to give way.
func (h holder) outlasts(e entry, pool string) bool {
	return h.result || h.finished.After(e.finished) || h.finished.Equal(e.finished) && h.pool > pool
}

// digestOf is a pullspec's digest; a pullspec without one stands for itself.
func digestOf(pullspec string) string {
	if _, digest, ok := strings.Cut(pullspec, "@"); ok {
		return digest
	}
	return pullspec
}
