package osbuild

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// logLinesInMessage is how much of a failed run's output a condition carries.
const logLinesInMessage = 10

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
	if s.kind == optedOut {
		return slices.DeleteFunc(slices.Clone(o.Conditions), func(c mcfgv1.MachineConfigPoolCondition) bool {
			return slices.Contains(api.OwnedConditions, c.Type)
		})
	}
	v, ok := judge(d, o, s)
	if !ok {
		return o.Conditions
	}
	for _, w := range d.Warnings {
		v.message += "; warning: " + w.Text
	}
	list := slices.Clone(o.Conditions)
	for _, kind := range api.OwnedConditions[:4] {
		c := mcfgv1.MachineConfigPoolCondition{Type: kind, Status: corev1.ConditionFalse, Reason: v.reason}
		if kind == v.kind {
			c.Status, c.Message = corev1.ConditionTrue, v.message
		}
		list = set(list, c, now)
	}
	degraded := mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolImageBuildDegraded, Status: corev1.ConditionFalse, Reason: v.reason}
	if v.kind == mcfgv1.MachineConfigPoolBuildFailed {
		degraded.Status, degraded.Message = corev1.ConditionTrue, v.message
	}
	list = set(list, degraded, now)
	if c, changed := interrupted(d, s, v); changed {
		list = set(list, c, now)
	}
	return list
}

// judge returns the verdict of a state; false means that what stands there
// remains true.
func judge(d Desired, o Observed, s state) (verdict, bool) {
	const pending, building = mcfgv1.MachineConfigPoolBuildPending, mcfgv1.MachineConfigPoolBuilding
	switch s.kind {
	case blocked:
		return verdict{mcfgv1.MachineConfigPoolBuildFailed, d.Blocked.Reason, d.Blocked.Message}, true
	case waiting:
		return verdict{pending, d.Waiting.Reason, d.Waiting.Message}, true
	case clearing:
		return clearingVerdict(o, s)
	case queued:
		return verdict{pending, api.ReasonWaitingForSlot, fmt.Sprintf(
			"%s builds already run; this pool is number %d in the queue", api.KeyMaxConcurrentBuilds, o.Slots.Ahead-max(o.Slots.Free, 0)+1)}, true
	case starting:
		r := nextRequest(d, o, s.record)
		return startsVerdict(d, r.Object, r.Attempt, r.Changes, ""), true
	case running:
		return runningVerdict(d, *s.current), true
	case unanswered:
		return verdict{pending, api.ReasonWaitingForRegistry, fmt.Sprintf(
			"the registry does not say whether it has %s: %v", o.Registry.Image, o.Registry.Err)}, true
	case retrying:
		return retryingVerdict(d, s), true
	case failed:
		return verdict{mcfgv1.MachineConfigPoolBuildFailed, s.record.Reason, failureMessage(*s.record)}, true
	case annotating, succeeded:
		return successVerdict(d, o, s), true
	case asking, reusing:
		// Over in a moment, and mostly followed by a start.
		return verdict{}, false
	case confirming, recording, failing, optedOut:
	}
	if find(o.Conditions, building) != nil {
		return verdict{}, false
	}
	message := "asking the registry for the image of " + d.Request.RenderedConfig
	if s.current != nil {
		message = s.current.Object + " has ended; its result is looked at"
	}
	return verdict{pending, api.ReasonBuildPending, message}, true
}

func clearingVerdict(o Observed, s state) (verdict, bool) {
	// A retry that is due goes on saying why it is one.
	if c := find(o.Conditions, mcfgv1.MachineConfigPoolBuildPending); len(s.stale) == 0 && c != nil && c.Status == corev1.ConditionTrue {
		return verdict{}, false
	}
	objects := make([]string, 0, len(s.stale))
	for _, b := range s.stale {
		objects = append(objects, b.Object)
	}
	return verdict{
		mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForCleanup,
		"waiting until the objects of an earlier build are gone: " + strings.Join(objects, ", "),
	}, true
}

func runningVerdict(d Desired, run backend.Observation) verdict {
	of := run.Object + try(run.Attempt, d.MaxRetries)
	switch run.Phase {
	case backend.PhasePreparing:
		return verdict{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildPreparing, of + " pulls the images that the build needs"}
	case backend.PhaseRunning:
		return verdict{mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning, of + " builds the image of " + d.Request.RenderedConfig}
	default:
		return startsVerdict(d, run.Object, run.Attempt, run.Changes, run.Message)
	}
}

// startsVerdict is the same for a run that is about to be made and for one
// that waits without trouble, so that the one becoming the other is no write.
func startsVerdict(d Desired, object string, attempt int, changes []string, trouble string) verdict {
	message := fmt.Sprintf("%s%s starts: %s", object, try(attempt, d.MaxRetries), strings.Join(changes, ", "))
	if trouble != "" {
		message += "; it waits: " + trouble
	}
	return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonBuildPending, message}
}

func retryingVerdict(d Desired, s state) verdict {
	r := s.record
	if r.Reason == api.ReasonBuildInterrupted {
		return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRetry, fmt.Sprintf(
			"%s was interrupted: %s; it starts again at %s", r.Object, r.Message, r.RetryAt.UTC().Format(time.RFC3339))}
	}
	return verdict{mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRetry, fmt.Sprintf(
		"try %d of %d failed, the next starts at %s: %s", r.Attempts, d.MaxRetries+1, r.RetryAt.UTC().Format(time.RFC3339), failureMessage(*r))}
}

func successVerdict(d Desired, o Observed, s state) verdict {
	v := verdict{mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded, fmt.Sprintf("%s is the image of %s", s.record.Image, d.Request.RenderedConfig)}
	if s.kind == annotating && s.current == nil {
		v.reason = api.ReasonImageReused
	}
	if c := find(o.Conditions, v.kind); s.kind == succeeded && c != nil && c.Status == corev1.ConditionTrue && strings.HasPrefix(c.Message, v.message) {
		v.reason = c.Reason
	}
	return v
}

// failureMessage says what failed, shows the end of the output, and where the
// rest is.
func failureMessage(r Record) string {
	var b strings.Builder
	b.WriteString(r.Message)
	if n := len(r.Log); n > 0 {
		b.WriteString("\nlast lines of the log:\n")
		b.WriteString(strings.Join(r.Log[max(0, n-logLinesInMessage):], "\n"))
	}
	if r.Object != "" {
		fmt.Fprintf(&b, "\nthe whole log: oc logs %s", r.Object)
	}
	return b.String()
}

func try(attempt, retries int) string {
	if attempt <= 1 {
		return ""
	}
	return fmt.Sprintf(" (try %d of %d)", attempt, retries+1)
}

// interrupted computes the informational condition: True from when a newer
// config replaced a live build until the newer one has ended.
func interrupted(d Desired, s state, v verdict) (mcfgv1.MachineConfigPoolCondition, bool) {
	c := mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolBuildInterrupted}
	for _, b := range s.stale {
		if b.Phase.Active() && !b.Deleting && d.Request != nil {
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

func find(list []mcfgv1.MachineConfigPoolCondition, kind mcfgv1.MachineConfigPoolConditionType) *mcfgv1.MachineConfigPoolCondition {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}

// set puts a condition into a list; the transition time moves only with the status.
func set(list []mcfgv1.MachineConfigPoolCondition, c mcfgv1.MachineConfigPoolCondition, now time.Time) []mcfgv1.MachineConfigPoolCondition {
	c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	if old := find(list, c.Type); old != nil {
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		*old = c
		return list
	}
	return append(list, c)
}
