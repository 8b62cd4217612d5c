package osbuild

import (
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

// worldKey is what tells two worlds apart. Runs and digests are numbered as they
// are met and times stand in their order, so that worlds which differ in nothing
// that anybody looks at are the same.
type worldKey struct {
	user
	registry   answers
	noSlot     bool
	result     resultKey
	conditions [6]conditionKey
	builds     [2]buildKey
	records    [2]recordKey
	images     [8]imageKey // by number
	tags       [2]int
}

type resultKey struct {
	image    int
	config   string
	praised  bool // the condition of success names it
	newerOne int  // the record that finished last
}

type conditionKey struct {
	status corev1.ConditionStatus
	reason string
}

type buildKey struct {
	id                             string
	pool                           types.UID
	token                          string
	attempt, run, gone, digest     int
	phase                          backend.Phase
	reason                         string
	deleting, runDeleting, strands bool
	due, overdue                   int // when it ought to have begun, and to be gone
}

type recordKey struct {
	id                      string
	pool                    types.UID
	token, request          string
	outcome                 Outcome
	reason                  string
	attempts, interruptions int
	run, image              int
	retry                   int
	marked                  bool
	earlier                 string // inputs of the image before
	earlierMarked           string // inputs of those that are
}

type imageKey struct {
	origin
	there bool
}

// numbers gives each text a number, in the order of being asked; "" is 0.
type numbers []string

func (n *numbers) of(text string) int {
	if text == "" {
		return 0
	}
	i := slices.Index(*n, text)
	if i < 0 {
		i = len(*n)
		*n = append(*n, text)
	}
	return i + 1
}

// key computes a world's.
func (w *world) key() worldKey {
	k := worldKey{user: w.user, registry: w.registry, noSlot: w.noSlot}
	var runs, images numbers
	order := w.order()
	for i, config := range modelConfigs {
		if r, ok := w.records[config]; ok {
			k.records[i] = recordKey{
				r.InputsHash, r.Pool.UID, r.RebuildToken, r.RebuildRequest, r.Outcome, r.Reason, r.Attempts, r.Interruptions,
				runs.of(string(r.LastRun)), images.of(r.Image), order.of(r.RetryAt), !r.UnneededSince.IsZero(),
				earlierOf(r).InputsHash, strings.Join(markedOf(r), ","),
			}
		}
		if b, ok := w.builds[config]; ok {
			k.builds[i] = buildKey{
				b.ID, b.Pool.UID, b.RebuildToken, b.Attempt, runs.of(string(b.UID)), runs.of(string(b.Gone)), images.of(pullspec(b.Result.Digest)), b.Phase, b.Reason,
				b.Deleting, b.RunDeleting, w.stranded[config], order.of(deadline(b)), order.of(overdueAt(b)),
			}
		}
		k.tags[i] = images.of(pullspec(w.images[repo+":"+config]))
	}
	k.result = resultKey{image: images.of(w.newestImage), config: w.imageConfig}
	if newest := (Observed{Records: w.recordList()}).newest(); newest != nil {
		k.result.newerOne = 1 + slices.Index(modelConfigs, newest.RenderedConfig)
	}
	for i, kind := range api.OwnedConditions {
		if c := mcp.Condition(w.conditions, kind); c != nil {
			k.conditions[i] = conditionKey{c.Status, c.Reason}
			k.result.praised = k.result.praised || kind == mcfgv1.MachineConfigPoolBuildSuccess && w.newestImage != "" && strings.HasPrefix(c.Message, w.newestImage)
		}
	}
	for i, image := range images {
		_, digest, _ := strings.Cut(image, "@")
		_, there := w.images[image]
		k.images[i] = imageKey{w.memory.made[digest], there}
	}
	return k
}

func (w *world) recordList() []Record {
	var out []Record
	for _, config := range modelConfigs {
		if r, ok := w.records[config]; ok {
			out = append(out, r)
		}
	}
	return out
}

func pullspec(digest string) string {
	if digest == "" {
		return ""
	}
	return repo + "@" + digest
}

func deadline(b backend.Observation) time.Time {
	if !b.Phase.Active() {
		return time.Time{}
	}
	return endsBy(b)
}

func overdueAt(b backend.Observation) time.Time {
	if b.GoneBy.IsZero() {
		return time.Time{}
	}
	return b.GoneBy.Add(abandonAfter)
}

// order is the order of what is still to come.
type order []time.Time

func (w *world) order() order {
	var o order
	for _, config := range modelConfigs {
		o = append(o, w.records[config].RetryAt, deadline(w.builds[config]), overdueAt(w.builds[config]))
	}
	o = slices.DeleteFunc(o, func(t time.Time) bool { return !t.After(w.now) })
	slices.SortFunc(o, time.Time.Compare)
	return slices.CompactFunc(o, time.Time.Equal)
}

// of is 0 for what never comes, -1 for what has come.
func (o order) of(t time.Time) int {
	if t.IsZero() {
		return 0
	}
	if i := slices.IndexFunc(o, t.Equal); i >= 0 {
		return i + 1
	}
	return -1
}

// end is the key as far as two ends must agree: which conditions are True,
// whatever their reason. Of an interruption not all can tell.
func (k worldKey) end(tellsInterruption bool) worldKey {
	for i, c := range k.conditions {
		k.conditions[i] = conditionKey{}
		if c.status == corev1.ConditionTrue && (tellsInterruption || api.OwnedConditions[i] != mcfgv1.MachineConfigPoolBuildInterrupted) {
			k.conditions[i].status = c.status
		}
	}
	return k
}

// leftover is true when anything of ours is left.
func (k worldKey) leftover() bool {
	return k.builds != [2]buildKey{} || k.records != [2]recordKey{} || k.conditions != [6]conditionKey{} || k.result.config != ""
}

// verdict is the condition of the first four that is True.
func (w *world) verdict() mcfgv1.MachineConfigPoolCondition {
	for _, kind := range api.OwnedConditions[:4] {
		if c := mcp.Condition(w.conditions, kind); c != nil && c.Status == corev1.ConditionTrue {
			return *c
		}
	}
	return mcfgv1.MachineConfigPoolCondition{}
}
