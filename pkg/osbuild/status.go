package osbuild

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

// warningSeparator stands between a message and each warning.
const warningSeparator = "; warning: "

// verdict is the one condition of the first four that is True.
type verdict struct {
	kind            mcfgv1.MachineConfigPoolConditionType
	reason, message string
}

// Status computes the pool's conditions, to be written after Plan's actions
// were carried out: o.Conditions with ours brought up to date and those of
// others as they were. An equal list means that there is nothing to write.
func Status(d Desired, o Observed, now time.Time) []mcfgv1.MachineConfigPoolCondition {
	s := decide(d, o, now)
	tellsDegraded := ownsDegraded(o.Conditions)
	if s.kind == optedOut {
		return slices.DeleteFunc(slices.Clone(o.Conditions), func(c mcfgv1.MachineConfigPoolCondition) bool {
			return slices.Contains(api.OwnedConditions, c.Type) && (tellsDegraded || c.Type != mcfgv1.MachineConfigPoolImageBuildDegraded)
		})
	}
	v, ok := judge(d, o, s, now)
	if !ok {
		return o.Conditions
	}
	for _, w := range d.Warnings {
		v.message += warningSeparator + w.Text
	}
	list := slices.Clone(o.Conditions)
	for _, kind := range api.OwnedConditions[:4] {
		c := mcfgv1.MachineConfigPoolCondition{Type: kind, Status: corev1.ConditionFalse, Reason: v.reason}
		if kind == v.kind {
			c.Status, c.Message = corev1.ConditionTrue, v.message
		}
		list = mcp.SetCondition(list, c, now)
	}
	degraded := mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolImageBuildDegraded, Status: corev1.ConditionFalse, Reason: v.reason}
	if v.kind == mcfgv1.MachineConfigPoolBuildFailed {
		degraded.Status, degraded.Message = corev1.ConditionTrue, v.message
	}
	if tellsDegraded {
		list = mcp.SetCondition(list, degraded, now)
	}
	if c, changed := interrupted(d, s, v); changed {
		list = mcp.SetCondition(list, c, now)
	}
	return list
}

// ownsDegraded is false where somebody else wrote ImageBuildDegraded: what is written
// here has the reason that BuildFailed has, in the same write. The
// machine-config-operator of newer OpenShift sets it back to False (NoLayeredObjects) on
// pools without a MachineOSConfig; two who insist would write for ever.
func ownsDegraded(conditions []mcfgv1.MachineConfigPoolCondition) bool {
	degraded := mcp.Condition(conditions, mcfgv1.MachineConfigPoolImageBuildDegraded)
	failed := mcp.Condition(conditions, mcfgv1.MachineConfigPoolBuildFailed)
	return degraded == nil || failed != nil && failed.Reason == degraded.Reason
}

// judge returns the verdict of a state; false means that what stands there
// remains true.
func judge(d Desired, o Observed, s state, now time.Time) (verdict, bool) {
	const pending = mcfgv1.MachineConfigPoolBuildPending
	switch s.kind {
	case blocked:
		return verdict{mcfgv1.MachineConfigPoolBuildFailed, d.Blocked.Reason, d.Blocked.Message}, true
	case waiting:
		return verdict{pending, d.Waiting.Reason, d.Waiting.Message}, true
	case clearing:
		return clearingVerdict(o, s)
	case asking:
		return askingVerdict(d, o, s, now)
	case reusing, queued, starting:
		return nextVerdict(d, o, s, now), true
	case running:
		return runningVerdict(d, *s.current), true
	case unanswered:
		return unansweredVerdict(o), true
	case retrying:
		return retryingVerdict(d, s), true
	case failed:
		return verdict{mcfgv1.MachineConfigPoolBuildFailed, s.record.Reason, finalMessage(s)}, true
	case annotating, succeeded:
		return successVerdict(d, o, s), true
	case confirming, reclaiming, recording, failing, optedOut:
	}
	return betweenVerdict(d, o, s)
}

// nextVerdict is what a build that is about to start waits for. It is the same
// while the registry is asked for an image that makes the build needless, which
// it mostly has not: then the answer is no second write.
func nextVerdict(d Desired, o Observed, s state, now time.Time) verdict {
	// A pool whose turn it is keeps its place until it starts; one that has begun has a slot.
	begun := s.current != nil && s.current.Incomplete
	if _, waits := PlaceOf(o.Conditions); !begun && (!o.Slots.Free() || (waits && s.kind != starting)) {
		return waitVerdict(o, now)
	}
	r := nextRequest(d, o, s.record)
	return startsVerdict(d, r.Object, r.Attempt, r.Changes, "")
}

// askingVerdict leaves what was told when the registry, or a try to start, gave
// no good answer the last time: that may be so again.
func askingVerdict(d Desired, o Observed, s state, now time.Time) (verdict, bool) {
	for _, c := range o.Conditions {
		again := c.Reason == api.ReasonCannotStart || c.Reason == api.ReasonWaitingForRegistry && strings.Contains(c.Message, d.Request.FinalImage)
		if c.Status == corev1.ConditionTrue && again && slices.Contains(api.OwnedConditions[:4], c.Type) {
			return verdict{}, false
		}
	}
	return nextVerdict(d, o, s, now), true
}

// betweenVerdict is that of the moments in which a result is looked at: what
// stands there remains, unless it is the success of other inputs.
func betweenVerdict(d Desired, o Observed, s state) (verdict, bool) {
	_, waits := PlaceOf(o.Conditions) // it waits for no slot any more
	succeeded := mcp.True(o.Conditions, mcfgv1.MachineConfigPoolBuildSuccess) != nil
	if mcp.Condition(o.Conditions, mcfgv1.MachineConfigPoolBuilding) != nil && !succeeded && !waits {
		return verdict{}, false
	}
	message := "asking the registry for the image of " + d.Request.RenderedConfig
	if s.current != nil {
		message = s.current.Object + " has ended; its result is looked at"
	}
	return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonBuildPending, message}, true
}

// interrupted computes the informational condition: True from when a newer
// config replaced a live build until the newer one has ended.
func interrupted(d Desired, s state, v verdict) (mcfgv1.MachineConfigPoolCondition, bool) {
	c := mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolBuildInterrupted}
	for _, b := range s.stale {
		if d.replaced(b) {
			c.Status, c.Reason = corev1.ConditionTrue, api.ReasonBuildInterrupted
			c.Message = fmt.Sprintf("%s was stopped: newer inputs replaced it", b.Object)
			return c, true
		}
	}
	if v.kind == mcfgv1.MachineConfigPoolBuildSuccess || v.kind == mcfgv1.MachineConfigPoolBuildFailed {
		c.Status, c.Reason = corev1.ConditionFalse, api.ReasonNotInterrupted
		return c, true
	}
	return c, false
}
