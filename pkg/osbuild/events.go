package osbuild

import (
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// Event is something to tell about a pool once.
type Event struct {
	Warning bool
	Reason  string
	Message string
}

// Events says what a change from the old to the new conditions tells, together
// with the actions that were carried out with it. Warnings are told once a build.
func Events(d Desired, before, after []mcfgv1.MachineConfigPoolCondition, done []Action) []Event {
	var events []Event
	for _, a := range done {
		switch a := a.(type) {
		case StartBuild:
			if slices.Contains(a.Request.Changes, changeRebuild) {
				events = append(events, Event{Reason: api.EventRebuildRequested, Message: "rebuild of " + a.Request.RenderedConfig + " requested"})
			}
			events = append(events, Event{
				Reason:  api.EventBuildStarted,
				Message: a.Request.Object + " of " + a.Request.RenderedConfig + " starts: " + strings.Join(a.Request.Changes, ", "),
			})
			for _, w := range d.Warnings {
				events = append(events, Event{Warning: true, Reason: api.EventUnknownKey, Message: w})
			}
		case Annotate:
			if a.NewestImage == "" {
				events = append(events, Event{Reason: api.EventBuildDeleted, Message: "the pool opted out; its build objects and result were removed"})
			}
		}
	}
	for _, t := range transitions {
		c := find(after, t.kind)
		if c == nil || c.Status != corev1.ConditionTrue || (t.when != "" && c.Reason != t.when) {
			continue
		}
		old := find(before, t.kind)
		if old != nil && old.Status == corev1.ConditionTrue && (t.when == "" || old.Reason == t.when) {
			continue
		}
		events = append(events, Event{Warning: t.warning, Reason: t.event, Message: c.Message})
	}
	return events
}

// transitions are the conditions whose becoming True, for the reason given if
// any, is an event.
var transitions = []struct {
	kind    mcfgv1.MachineConfigPoolConditionType
	when    string
	event   string
	warning bool
}{
	{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildPreparing, api.EventBuildPreparing, false},
	{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning, api.EventBuildBuilding, false},
	{mcfgv1.MachineConfigPoolBuildSuccess, "", api.EventBuildCompleted, false},
	{mcfgv1.MachineConfigPoolBuildFailed, "", api.EventBuildFailed, true},
	{mcfgv1.MachineConfigPoolBuildInterrupted, "", api.EventBuildInterrupted, false},
}
