package poolstatus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// Problem is a condition reason and a message.
type Problem struct{ Reason, Message string }

// Compute returns the pool's status: its own with counts, configuration,
// observedGeneration and the conditions of the package's documentation brought
// up to date, everything else as it was, RenderDegraded too. The members are
// the pool's own, as Assign returned them; nil for none. The time is that of
// conditions whose status changes. An equal status means that there is nothing
// to write.
func Compute(pool *mcfgv1.MachineConfigPool, members *Members, now time.Time) mcfgv1.MachineConfigPoolStatus {
	status := *pool.Status.DeepCopy()
	status.ObservedGeneration = pool.Generation
	if members == nil {
		members = &Members{}
	}
	count(&status, pool, members.Nodes)
	list := mcp.SetCondition(status.Conditions, nodeDegraded(members), now)
	for _, c := range progress(pool, status, members.Problems) {
		if c.Type == mcfgv1.MachineConfigPoolUpdated && c.Status == corev1.ConditionTrue {
			status.Configuration = *pool.Spec.Configuration.DeepCopy()
		}
		list = mcp.SetCondition(list, c, now)
	}
	status.Conditions = mcp.SetCondition(list, degraded(list), now)
	return status
}

// count counts the machines.
func count(status *mcfgv1.MachineConfigPoolStatus, pool *mcfgv1.MachineConfigPool, nodes []Node) {
	status.MachineCount = int32(len(nodes))
	status.UpdatedMachineCount, status.ReadyMachineCount = 0, 0
	status.UnavailableMachineCount, status.DegradedMachineCount = 0, 0
	for _, n := range nodes {
		if updated(pool, n) {
			status.UpdatedMachineCount++
			if n.Ready {
				status.ReadyMachineCount++
			}
		}
		if n.unavailable() {
			status.UnavailableMachineCount++
		}
		if n.degraded() {
			status.DegradedMachineCount++
		}
	}
}

// updated is true for a node that has what the pool targets.
func updated(pool *mcfgv1.MachineConfigPool, n Node) bool {
	if !n.done() || n.CurrentConfig != pool.Spec.Configuration.Name {
		return false
	}
	return !mcp.OptedIn(pool) || mcp.HasImage(pool) && n.CurrentImage == pool.Annotations[api.AnnotationNewestImage]
}

// progress computes Updated and Updating from the counts. While some machines
// may be the pool's and nobody can say so, it is not updated.
func progress(pool *mcfgv1.MachineConfigPool, s mcfgv1.MachineConfigPoolStatus, unassigned []string) []mcfgv1.MachineConfigPoolCondition {
	conditions := func(updated, updating corev1.ConditionStatus, reason, message string) []mcfgv1.MachineConfigPoolCondition {
		return []mcfgv1.MachineConfigPoolCondition{
			{Type: mcfgv1.MachineConfigPoolUpdated, Status: updated, Reason: reason, Message: message},
			{Type: mcfgv1.MachineConfigPoolUpdating, Status: updating, Reason: reason, Message: message},
		}
	}
	target := pool.Spec.Configuration.Name
	all := s.UpdatedMachineCount == s.MachineCount && s.ReadyMachineCount == s.MachineCount && s.UnavailableMachineCount == 0
	const yes, no = corev1.ConditionTrue, corev1.ConditionFalse
	switch {
	case target == "":
		return conditions(no, no, api.ReasonWaitingForRender, "the pool has no rendered config yet")
	case all && len(unassigned) > 0:
		return conditions(no, no, api.ReasonMachinesUnassigned, strings.Join(atMost(unassigned), "; "))
	case all:
		return conditions(yes, no, api.ReasonMachinesUpdated, "all machines have "+describe(pool))
	case pool.Spec.Paused:
		return conditions(no, no, api.ReasonPoolPaused, "the pool is paused; its machines are not updated to "+describe(pool)+" until spec.paused is false")
	case mcp.OptedIn(pool) && !mcp.HasImage(pool):
		return conditions(no, yes, api.ReasonWaitingForImage, "machines are updated when the image of "+target+" is built")
	default:
		return conditions(no, yes, api.ReasonMachinesUpdating, "machines are updated to "+describe(pool))
	}
}

func describe(pool *mcfgv1.MachineConfigPool) string {
	if mcp.OptedIn(pool) && mcp.HasImage(pool) {
		return pool.Spec.Configuration.Name + ", image " + pool.Annotations[api.AnnotationNewestImage]
	}
	return pool.Spec.Configuration.Name
}

// Rendered returns a pool's conditions with RenderDegraded brought up to date.
// The problem is why there is no rendered config of the MachineConfigs as they
// are; nil when there is one. An equal list means that there is nothing to write.
func Rendered(conditions []mcfgv1.MachineConfigPoolCondition, problem *Problem, now time.Time) []mcfgv1.MachineConfigPoolCondition {
	c := mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolRenderDegraded, Status: corev1.ConditionFalse, Reason: api.ReasonRendered}
	if problem != nil {
		c.Status, c.Reason, c.Message = corev1.ConditionTrue, problem.Reason, problem.Message
	}
	return mcp.SetCondition(slices.Clone(conditions), c, now)
}

// Unrendered returns the conditions of a pool that is not rendered here: what
// was told of its rendering is gone, unless somebody else told it.
func Unrendered(conditions []mcfgv1.MachineConfigPoolCondition) []mcfgv1.MachineConfigPoolCondition {
	return slices.DeleteFunc(slices.Clone(conditions), func(c mcfgv1.MachineConfigPoolCondition) bool {
		return c.Type == mcfgv1.MachineConfigPoolRenderDegraded && slices.Contains(api.RenderReasons, c.Reason)
	})
}

// What a message shows of machines, so that a pool of thousands still has one
// that is read.
const (
	maxListed = 10
	maxReason = 300  // characters
	maxRead   = 4096 // bytes of a reason that are looked at
)

func nodeDegraded(m *Members) mcfgv1.MachineConfigPoolCondition {
	c := mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolNodeDegraded, Status: corev1.ConditionFalse, Reason: api.ReasonNotDegraded}
	found := slices.Clone(m.Problems)
	for _, n := range m.Nodes {
		if n.degraded() {
			c.Reason = api.ReasonMachinesDegraded
			found = append(found, describeNode(n, len(found) < maxListed))
		}
	}
	if len(found) == 0 {
		return c
	}
	if c.Reason == api.ReasonNotDegraded {
		c.Reason = api.ReasonMachinesUnassigned
	}
	c.Status, c.Message = corev1.ConditionTrue, strings.Join(atMost(found), "; ")
	return c
}

// atMost cuts a list for a message.
func atMost(list []string) []string {
	if more := len(list) - maxListed; more > 0 {
		return append(slices.Clone(list[:maxListed]), fmt.Sprintf("and %d more", more))
	}
	return list
}

// describeNode says how a degraded node stands; one that is not listed is only counted.
func describeNode(n Node, listed bool) string {
	if !listed {
		return n.Name
	}
	return fmt.Sprintf("node %q is %s: %s", n.Name, n.State, shown(n.StateReason))
}

// shown is what an agent says of itself, fit for a condition.
func shown(reason string) string {
	if reason == "" {
		return "its agent gives no reason; look at that agent's log"
	}
	reason = reason[:min(len(reason), maxRead)]
	text := []rune(strings.Join(strings.Fields(redact.New().Text(reason)), " "))
	if len(text) > maxReason {
		return string(text[:maxReason]) + " …"
	}
	return string(text)
}

// degraded sums up the conditions that say that something is wrong.
func degraded(list []mcfgv1.MachineConfigPoolCondition) mcfgv1.MachineConfigPoolCondition {
	sum := mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolDegraded, Status: corev1.ConditionFalse, Reason: api.ReasonNotDegraded}
	var found []string
	for _, kind := range []mcfgv1.MachineConfigPoolConditionType{
		mcfgv1.MachineConfigPoolRenderDegraded, mcfgv1.MachineConfigPoolNodeDegraded, mcfgv1.MachineConfigPoolImageBuildDegraded,
	} {
		c := mcp.True(list, kind)
		if c == nil {
			continue
		}
		if found == nil {
			sum.Status, sum.Reason = corev1.ConditionTrue, c.Reason
		}
		// The condition itself has the rest.
		first, _, _ := strings.Cut(c.Message, "\n")
		found = append(found, fmt.Sprintf("%s: %s", kind, first))
	}
	sum.Message = strings.Join(found, "; ")
	return sum
}
