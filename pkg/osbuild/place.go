package osbuild

import (
	"fmt"
	"math"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

// Slots says whether a further build may start.
type Slots struct {
	// Limit is how many builds may run at once.
	Limit int
	// Busy is how many of other pools do.
	Busy int
	// Ahead is how many pools have waited longer.
	Ahead int
}

// Free is true when the pool may start now.
func (s Slots) Free() bool { return s.Ahead < s.Limit-s.Busy }

// place is the pool's in the queue: 1 is the next to start.
func (s Slots) place() int { return max(s.Ahead-max(s.Limit-s.Busy, 0)+1, 1) }

// Place is where a pool stands in the queue for a slot, as its status tells it.
// The status is what the order of the queue outlives a restart by.
type Place struct {
	// Since is when it joined, in milliseconds.
	Since time.Time
	// Told is its place, or one behind it.
	Told int
}

// sinceFormat is fine enough to tell apart pools that join at once.
const sinceFormat = "2006-01-02T15:04:05.000Z07:00"

// waitFormat is the message of a pool that waits for a slot.
const waitFormat = "as many builds run as " + api.KeyMaxConcurrentBuilds + "=%d allows; number %d or better in the queue since %s"

// PlaceOf reads the place that conditions tell; false when there is none.
func PlaceOf(conditions []mcfgv1.MachineConfigPoolCondition) (Place, bool) {
	c := mcp.True(conditions, mcfgv1.MachineConfigPoolBuildPending)
	if c == nil || c.Reason != api.ReasonWaitingForSlot {
		return Place{}, false
	}
	var limit int
	var p Place
	var since string
	message, _, _ := strings.Cut(c.Message, warningSeparator)
	if _, err := fmt.Sscanf(message, waitFormat, &limit, &p.Told, &since); err == nil {
		p.Since, err = time.Parse(time.RFC3339Nano, since)
		if err == nil {
			p.Since = p.Since.UTC()
			return p, true
		}
	}
	return Place{Since: c.LastTransitionTime.Time, Told: math.MaxInt}, true
}

// exactTo is the last place that is told as it is.
const exactTo = 10

// tell is what to tell of a place: of one far behind a worse one, since of the
// pools that join at once some turn out to have been first a moment later.
func tell(place int) int {
	if place > exactTo {
		return place + place/10
	}
	return place
}

// Retell is true when a place in the queue is worse than the one that was told,
// or better by so much that it is worth a write. That is rare on purpose: a
// thousand pools that each tell each step would be a million writes.
func (p Place) Retell(place int) bool {
	return place > p.Told || p.Told > exactTo && place <= p.Told/10
}

// waitVerdict is that of a pool in the queue. A pool that comes back for
// another try joins at the end.
func waitVerdict(o Observed, now time.Time) verdict {
	told, waits := PlaceOf(o.Conditions)
	if !waits {
		told = Place{Since: now.UTC().Truncate(time.Millisecond)}
	}
	if place := o.Slots.place(); !waits || told.Retell(place) {
		told.Told = tell(place)
	}
	return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForSlot, fmt.Sprintf(
		waitFormat, o.Slots.Limit, told.Told, told.Since.UTC().Format(sinceFormat))}
}
