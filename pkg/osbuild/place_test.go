package osbuild

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

// TestS06Place follows a pool through the queue: its status says since when it
// waits and its place, never a better one than it has, and is not rewritten at
// every step of others.
func TestS06Place(t *testing.T) {
	d := Desire(inputs())
	d.Warnings = []Warning{{Reason: api.EventUnknownKey, Text: "has number 7 or better"}}
	gone := &Confirmation{Image: d.Request.FinalImage}
	var conditions []mcfgv1.MachineConfigPoolCondition
	for i, step := range []struct {
		ahead int
		want  string
	}{
		{41, "BuildPending/WaitingForSlot as many builds run as maxConcurrentBuilds=2 allows; number 46 or better in the queue since 2026-03-01T12:00:00.000Z"},
		{45, "number 46 or better in the queue since 2026-03-01T12:00:00.000Z"}, // others turn out to have been first
		{46, "number 51 or better"},
		{5, "number 51 or better"},
		{4, "number 5 or better in the queue since 2026-03-01T12:00:00.000Z"},
		{0, "number 5 or better"},
		{5, "number 6 or better"},
		{9, "number 10 or better"},
		{0, "number 10 or better"},
	} {
		o := Observed{Slots: Slots{Limit: 2, Busy: 2, Ahead: step.ahead}, Registry: gone, Conditions: conditions}
		conditions = Status(d, o, now.Add(time.Duration(i)*time.Minute))
		c := mcp.Condition(conditions, mcfgv1.MachineConfigPoolBuildPending)
		if got := verdictOf(t, conditions) + " " + c.Message; !strings.Contains(got, step.want) {
			t.Errorf("with %d ahead: %q, want %q", step.ahead, got, step.want)
		}
		if p, ok := PlaceOf(conditions); !ok || !p.Since.Equal(now) || p.Told < step.ahead+1 {
			t.Errorf("with %d ahead the status is read as %+v, %t", step.ahead, p, ok)
		}
	}
}

// TestPlaceOfARetry: a pool that comes back for another try joins the queue
// then, however long its condition has been True for other reasons.
func TestPlaceOfARetry(t *testing.T) {
	d := Desire(inputs())
	record := recorded(d, Retrying, func(r *Record) { r.RetryAt, r.Reason = now.Add(time.Minute), api.ReasonBuildFailed })
	o := Observed{Slots: Slots{Limit: 1}, Records: []Record{record}}
	o.Conditions = Status(d, o, now)
	if got := verdictOf(t, o.Conditions); got != "BuildPending/WaitingForRetry" {
		t.Fatalf("before its time it is %s", got)
	}
	o.Slots.Busy = 1
	o.Conditions = Status(d, o, now.Add(time.Hour))
	if p, ok := PlaceOf(o.Conditions); !ok || !p.Since.Equal(now.Add(time.Hour)) {
		t.Errorf("it waits since %v, %t", p.Since, ok)
	}
}

// TestPlaceIsKeptUntilTheStart: a pool whose turn it is does not lose its place
// when the registry has to be asked once more. When there is no answer it does:
// it would hold up all behind it.
func TestPlaceIsKeptUntilTheStart(t *testing.T) {
	d := Desire(inputs())
	gone := &Confirmation{Image: d.Request.FinalImage}
	silent := &Confirmation{Image: d.Request.FinalImage, Err: errors.New("503"), Temporary: true}
	o := Observed{Slots: Slots{Limit: 1, Busy: 1}, Registry: gone}
	o.Conditions = Status(d, o, now)
	o.Slots.Busy = 0
	later := now.Add(time.Hour)
	o.Registry = nil
	if p, ok := PlaceOf(Status(d, o, later)); !ok || !p.Since.Equal(now) {
		t.Errorf("before the answer it waits since %v, %t", p.Since, ok)
	}
	o.Registry = silent
	conditions := Status(d, o, later)
	if c := mcp.Condition(conditions, mcfgv1.MachineConfigPoolBuildPending); c.Reason != api.ReasonWaitingForRegistry || !strings.Contains(c.Message, "503") {
		t.Errorf("without an answer it is %s: %s", c.Reason, c.Message)
	}
	again := o
	again.Conditions, again.Registry = conditions, nil
	if got := Status(d, again, later); !reflect.DeepEqual(got, conditions) {
		t.Errorf("while the registry is asked again it says %v", got)
	}
	o.Registry = gone
	if got := verdictOf(t, Status(d, o, later)); got != "BuildPending/BuildPending" {
		t.Errorf("when it starts it is %s", got)
	}
}

// TestPlaceThatCannotBeRead: of a message by somebody else the condition's own
// time is taken, and the place is told anew.
func TestPlaceThatCannotBeRead(t *testing.T) {
	c := mcfgv1.MachineConfigPoolCondition{
		Type: mcfgv1.MachineConfigPoolBuildPending, Status: corev1.ConditionTrue, Reason: api.ReasonWaitingForSlot,
		Message: "it waits", LastTransitionTime: metav1.NewTime(now),
	}
	p, ok := PlaceOf([]mcfgv1.MachineConfigPoolCondition{c})
	if !ok || p != (Place{Since: now, Told: math.MaxInt}) || !p.Retell(5) {
		t.Errorf("%+v, %t", p, ok)
	}
	c.Status = corev1.ConditionFalse
	if _, ok := PlaceOf([]mcfgv1.MachineConfigPoolCondition{c}); ok {
		t.Error("a pool that does not wait has a place")
	}
}
