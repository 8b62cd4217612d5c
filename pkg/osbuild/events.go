package osbuild

import (
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

// Event is something to tell about a pool once.
type Event struct {
	Warning bool
	Reason  string
	Message string
}

// Events says what a change from the old to the new conditions tells, together
// with the actions that were carried out with it.
// The same conditions twice give what the actions alone tell.
func Events(d Desired, before, after []mcfgv1.MachineConfigPoolCondition, done []Action) []Event {
	var events []Event
	for _, a := range done {
		events = append(events, told(a)...)
	}
	if d.OptedOut && tracked(before) && !tracked(after) {
		events = append(events, Event{Reason: api.EventBuildDeleted, Message: "the pool opted out; its build objects and result are removed"})
	}
	for _, w := range d.Warnings {
		if mentioned(after, w.Text) && !mentioned(before, w.Text) {
			events = append(events, Event{Warning: true, Reason: w.Reason, Message: w.Text})
		}
	}
	for _, t := range transitions {
		if c := mcp.Condition(after, t.kind); t.holds(c) && !t.holds(mcp.Condition(before, t.kind)) {
			events = append(events, Event{Warning: t.warning, Reason: t.event, Message: c.Message})
		}
	}
	return events
}

// told is what an action tells by itself.
func told(a Action) []Event {
	var events []Event
	if a, ok := a.(StartBuild); ok {
		r := a.Request
		if slices.Contains(r.Changes, changeRebuild) {
			events = append(events, Event{Reason: api.EventRebuildRequested, Message: "rebuild of " + r.RenderedConfig + " requested"})
		}
		events = append(events, Event{
			Reason:  api.EventBuildStarted,
			Message: r.Object + " of " + r.RenderedConfig + " starts: " + strings.Join(r.Changes, ", "),
		})
	}
	return events
}

// tracked is true where the conditions tell of builds; ImageBuildDegraded alone may be
// somebody else's.
func tracked(conditions []mcfgv1.MachineConfigPoolCondition) bool {
	return slices.ContainsFunc(conditions, func(c mcfgv1.MachineConfigPoolCondition) bool {
		return c.Type != mcfgv1.MachineConfigPoolImageBuildDegraded && slices.Contains(api.OwnedConditions, c.Type)
	})
}

func mentioned(conditions []mcfgv1.MachineConfigPoolCondition, text string) bool {
	return slices.ContainsFunc(conditions, func(c mcfgv1.MachineConfigPoolCondition) bool { return strings.Contains(c.Message, text) })
}

type transition struct {
	kind    mcfgv1.MachineConfigPoolConditionType
	when    string
	event   string
	warning bool
}

// holds is true for a condition, possibly nil, that is True for the reason.
func (t transition) holds(c *mcfgv1.MachineConfigPoolCondition) bool {
	return c != nil && c.Status == corev1.ConditionTrue && (t.when == "" || c.Reason == t.when)
}

// transitions are the conditions whose becoming True, for the reason given if
// any, is an event.
var transitions = []transition{
	{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildPreparing, api.EventBuildPreparing, false},
	{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning, api.EventBuildBuilding, false},
	{mcfgv1.MachineConfigPoolBuildSuccess, "", api.EventBuildCompleted, false},
	{mcfgv1.MachineConfigPoolBuildFailed, "", api.EventBuildFailed, true},
	{mcfgv1.MachineConfigPoolBuildInterrupted, "", api.EventBuildInterrupted, false},
}
