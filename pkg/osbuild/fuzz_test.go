package osbuild

import (
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// FuzzPlaceOf reads any message as the place that a pool has in the queue:
// whatever it is, the pool keeps its turn when it is told anew.
func FuzzPlaceOf(f *testing.F) {
	f.Add(waitVerdict(Observed{Slots: Slots{Limit: 2, Busy: 2, Ahead: 4}}, now).message)
	f.Add("")
	f.Add("as many builds run as maxConcurrentBuilds=-1 allows; number -7 or better in the queue since 2026-03-01T12:00:00.5+01:00; warning: x")
	f.Fuzz(func(t *testing.T, message string) {
		o := Observed{Conditions: conditionsOf(mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForSlot, message), Slots: Slots{Limit: 1, Busy: 1, Ahead: 2}}
		before, waits := PlaceOf(o.Conditions)
		if !waits {
			t.Fatalf("%q takes the pool from the queue", message)
		}
		if year := before.Since.Year(); year < 1 || year > 9000 {
			return // no time that a pool can have joined at
		}
		o.Conditions = conditionsOf(mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForSlot, waitVerdict(o, now).message)
		after, _ := PlaceOf(o.Conditions)
		if !after.Since.Equal(before.Since.Truncate(time.Millisecond)) {
			t.Fatalf("%q: in the queue since %v, then since %v", message, before.Since, after.Since)
		}
	})
}
