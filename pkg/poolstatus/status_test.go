package poolstatus

import (
	"fmt"
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

var (
	before = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now    = before.Add(time.Hour)
)

const (
	older   = "rendered-worker-1"
	newer   = "rendered-worker-2"
	imageOf = "registry.example.com/os@sha256:"
)

// worker targets newer and has older.
func worker(change ...func(*mcfgv1.MachineConfigPool)) *mcfgv1.MachineConfigPool {
	p := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: "worker", Generation: 7}}
	p.Spec.Configuration.Name, p.Status.Configuration.Name = newer, older
	p.Spec.Configuration.Source = []corev1.ObjectReference{{Name: "00-worker"}}
	for _, c := range change {
		c(p)
	}
	return p
}

func paused(p *mcfgv1.MachineConfigPool) { p.Spec.Paused = true }

// layered is opted in and has the image of a config.
func layered(config string) func(*mcfgv1.MachineConfigPool) {
	return func(p *mcfgv1.MachineConfigPool) {
		p.Labels = map[string]string{api.LabelLayeringEnabled: ""}
		p.Annotations = map[string]string{api.AnnotationNewestImage: imageOf + config, api.AnnotationImageConfig: config}
	}
}

func has(list ...mcfgv1.MachineConfigPoolCondition) func(*mcfgv1.MachineConfigPool) {
	return func(p *mcfgv1.MachineConfigPool) { p.Status.Conditions = list }
}

func condition(kind mcfgv1.MachineConfigPoolConditionType, status corev1.ConditionStatus, message string) mcfgv1.MachineConfigPoolCondition {
	return mcfgv1.MachineConfigPoolCondition{Type: kind, Status: status, Reason: "Because", Message: message, LastTransitionTime: metav1.NewTime(before)}
}

// at is a node that has a config and is to have another.
func at(current, desired, state string, change ...func(*Node)) Node {
	n := Node{Name: "n", Ready: true, CurrentConfig: current, DesiredConfig: desired, State: state}
	for _, c := range change {
		c(&n)
	}
	return n
}

func unready(n *Node) { n.Ready = false }

func images(current, desired string) func(*Node) {
	return func(n *Node) { n.CurrentImage, n.DesiredImage = imageOf+current, imageOf+desired }
}

func TestCompute(t *testing.T) {
	const yes, no = "True", "False"
	done, ofOlder := at(newer, newer, api.StateDone), at(older, older, api.StateDone)
	for _, row := range []struct {
		name  string
		pool  *mcfgv1.MachineConfigPool
		nodes []Node
		// counts: updated, ready, unavailable, degraded
		counts            [4]int32
		updated, updating string
		reason            string
		config            string
	}{
		{"all updated", worker(), []Node{done, done}, [4]int32{2, 2, 0, 0}, yes, no, api.ReasonMachinesUpdated, newer},
		{"no machines", worker(), nil, [4]int32{}, yes, no, api.ReasonMachinesUpdated, newer},
		{"none begun", worker(), []Node{ofOlder, ofOlder}, [4]int32{}, no, yes, api.ReasonMachinesUpdating, older},
		{"one at work", worker(), []Node{done, at(older, newer, api.StateWorking)}, [4]int32{1, 1, 1, 0}, no, yes, api.ReasonMachinesUpdating, older},
		{"one told, not at work yet", worker(), []Node{done, at(older, newer, api.StateDone)}, [4]int32{1, 1, 1, 0}, no, yes, api.ReasonMachinesUpdating, older},
		{"there, and still at work", worker(), []Node{at(newer, newer, api.StateWorking)}, [4]int32{0, 0, 1, 0}, no, yes, api.ReasonMachinesUpdating, older},
		{"updated, takes no pods", worker(), []Node{at(newer, newer, api.StateDone, unready)}, [4]int32{1, 0, 1, 0}, no, yes, api.ReasonMachinesUpdating, older},
		{"paused", worker(paused), []Node{ofOlder}, [4]int32{}, no, no, api.ReasonPoolPaused, older},
		{"paused, all updated", worker(paused), []Node{done}, [4]int32{1, 1, 0, 0}, yes, no, api.ReasonMachinesUpdated, newer},
		{"degraded", worker(), []Node{done, at(older, newer, api.StateDegraded)}, [4]int32{1, 1, 0, 1}, no, yes, api.ReasonMachinesUpdating, older},
		{"unreconcilable, takes no pods", worker(), []Node{at(older, newer, api.StateUnreconcilable, unready)}, [4]int32{0, 0, 1, 1}, no, yes, api.ReasonMachinesUpdating, older},
		{"no agent", worker(), []Node{{Name: "n", Ready: true}}, [4]int32{0, 0, 1, 0}, no, yes, api.ReasonMachinesUpdating, older},
		{"not rendered", worker(func(p *mcfgv1.MachineConfigPool) { p.Spec.Configuration.Name = "" }), nil, [4]int32{}, no, no, api.ReasonWaitingForRender, older},

		{"image, all updated", worker(layered(newer)), []Node{at(newer, newer, api.StateDone, images(newer, newer))}, [4]int32{1, 1, 0, 0}, yes, no, api.ReasonMachinesUpdated, newer},
		{"image, at an older one", worker(layered(newer)), []Node{at(newer, newer, api.StateDone, images(older, older))}, [4]int32{0, 0, 0, 0}, no, yes, api.ReasonMachinesUpdating, older},
		{"image, on its way", worker(layered(newer)), []Node{at(newer, newer, api.StateDone, images(older, newer))}, [4]int32{0, 0, 1, 0}, no, yes, api.ReasonMachinesUpdating, older},
		{"image, none yet on the node", worker(layered(newer)), []Node{done}, [4]int32{}, no, yes, api.ReasonMachinesUpdating, older},
		{"S07 image of the config before", worker(layered(older)), []Node{at(newer, newer, api.StateDone, images(older, older))}, [4]int32{}, no, yes, api.ReasonWaitingForImage, older},
		{"image, not built, paused", worker(layered(older), paused), []Node{ofOlder}, [4]int32{}, no, no, api.ReasonPoolPaused, older},
		{"opted out, image on its way out", worker(), []Node{at(newer, newer, api.StateDone, func(n *Node) { n.CurrentImage = imageOf + older })}, [4]int32{0, 0, 1, 0}, no, yes, api.ReasonMachinesUpdating, older},
	} {
		t.Run(row.name, func(t *testing.T) {
			asItWas := row.pool.DeepCopy()
			s := Compute(row.pool, &Members{Nodes: row.nodes}, now)
			if counts := [4]int32{s.UpdatedMachineCount, s.ReadyMachineCount, s.UnavailableMachineCount, s.DegradedMachineCount}; counts != row.counts || s.MachineCount != int32(len(row.nodes)) {
				t.Errorf("of %d machines are updated, ready, unavailable, degraded %v, want %v", s.MachineCount, counts, row.counts)
			}
			updated, updating := get(t, s, mcfgv1.MachineConfigPoolUpdated), get(t, s, mcfgv1.MachineConfigPoolUpdating)
			if string(updated.Status) != row.updated || string(updating.Status) != row.updating || updated.Reason != row.reason || updating.Reason != row.reason {
				t.Errorf("Updated is %s (%s), Updating %s (%s)", updated.Status, updated.Reason, updating.Status, updating.Reason)
			}
			if updated.Message == "" || s.Configuration.Name != row.config || s.ObservedGeneration != 7 {
				t.Errorf("message is %q, status.configuration %s, observedGeneration %d", updated.Message, s.Configuration.Name, s.ObservedGeneration)
			}
			if row.config == newer && !reflect.DeepEqual(s.Configuration, row.pool.Spec.Configuration) {
				t.Errorf("status.configuration is %+v", s.Configuration)
			}
			if degraded := get(t, s, mcfgv1.MachineConfigPoolNodeDegraded); (degraded.Status == corev1.ConditionTrue) != (row.counts[3] > 0) {
				t.Errorf("NodeDegraded is %s", degraded.Status)
			}
			if !reflect.DeepEqual(row.pool, asItWas) {
				t.Error("the pool was changed")
			}
			again := row.pool.DeepCopy()
			again.Status = s
			if twice := Compute(again, &Members{Nodes: row.nodes}, now.Add(time.Hour)); !reflect.DeepEqual(twice, s) {
				t.Errorf("a second time the status is %+v, want %+v", twice, s)
			}
		})
	}
}

func get(t *testing.T, s mcfgv1.MachineConfigPoolStatus, kind mcfgv1.MachineConfigPoolConditionType) mcfgv1.MachineConfigPoolCondition {
	t.Helper()
	c := mcp.Condition(s.Conditions, kind)
	if c == nil {
		t.Fatalf("no condition %s in %+v", kind, s.Conditions)
	}
	return *c
}

func TestDegraded(t *testing.T) {
	const render, node, build = mcfgv1.MachineConfigPoolRenderDegraded, mcfgv1.MachineConfigPoolNodeDegraded, mcfgv1.MachineConfigPoolImageBuildDegraded
	sick := &Members{Nodes: []Node{at(older, newer, api.StateDegraded, func(n *Node) { n.StateReason = "disk\nis  full\x1b[31m" })}}
	refused := condition(render, corev1.ConditionTrue, "none matches")
	for _, row := range []struct {
		name    string
		pool    *mcfgv1.MachineConfigPool
		members *Members
		reason  string
		message string // none: not degraded
	}{
		{"nothing", worker(), nil, api.ReasonNotDegraded, ""},
		{"render", worker(has(refused)), nil, "Because", "RenderDegraded: none matches"},
		{"render, mended", worker(has(condition(render, corev1.ConditionFalse, ""))), nil, api.ReasonNotDegraded, ""},
		{"node", worker(), sick, api.ReasonMachinesDegraded, `NodeDegraded: node "n" is Degraded: disk is full`},
		{
			"node without a reason", worker(), &Members{Nodes: []Node{at(older, newer, api.StateUnreconcilable)}},
			api.ReasonMachinesDegraded, `NodeDegraded: node "n" is Unreconcilable: its agent gives no reason; look at that agent's log`,
		},
		{"node of two pools", worker(), &Members{Problems: []string{"node x"}}, api.ReasonMachinesUnassigned, "NodeDegraded: node x"},
		{"node, mended", worker(has(condition(node, corev1.ConditionTrue, "old"))), nil, api.ReasonNotDegraded, ""},
		{"build", worker(has(condition(build, corev1.ConditionTrue, "step 3\nlog"))), nil, "Because", "ImageBuildDegraded: step 3"},
		{"build, mended", worker(has(condition(build, corev1.ConditionFalse, ""))), nil, api.ReasonNotDegraded, ""},
		{
			"all", worker(has(condition(build, corev1.ConditionTrue, "step 3"), refused)), sick, "Because",
			`RenderDegraded: none matches; NodeDegraded: node "n" is Degraded: disk is full; ImageBuildDegraded: step 3`,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := get(t, Compute(row.pool, row.members, now), mcfgv1.MachineConfigPoolDegraded)
			if c.Message != row.message || (c.Status == corev1.ConditionTrue) != (row.message != "") || c.Reason != row.reason {
				t.Errorf("Degraded is %s, %s, %q; want %q", c.Status, c.Reason, c.Message, row.message)
			}
		})
	}
}

// TestRendered: why a pool was not rendered is told, and taken back; a time
// moves with the status only.
func TestRendered(t *testing.T) {
	first := Rendered(nil, &Problem{api.ReasonNoMachineConfigs, "none matches"}, before)
	second := Rendered(first, &Problem{api.ReasonInvalidMachineConfig, "50-x"}, now)
	if c := second[0]; len(second) != 1 || c.Status != corev1.ConditionTrue || c.Reason != api.ReasonInvalidMachineConfig || c.Message != "50-x" || !c.LastTransitionTime.Time.Equal(before) {
		t.Errorf("conditions are %+v", second)
	}
	mended := Rendered(second, nil, now)
	if c := mended[0]; c.Status != corev1.ConditionFalse || c.Reason != api.ReasonRendered || c.Message != "" || !c.LastTransitionTime.Time.Equal(now) {
		t.Errorf("mended it is %+v", c)
	}
	if first[0].Reason != api.ReasonNoMachineConfigs || second[0].Status != corev1.ConditionTrue {
		t.Error("the conditions that came in were changed")
	}
}

func TestUnassigned(t *testing.T) {
	s := Compute(worker(), &Members{Problems: []string{"spec.nodeSelector of the pool is invalid"}}, now)
	updated := get(t, s, mcfgv1.MachineConfigPoolUpdated)
	if updated.Status != corev1.ConditionFalse || updated.Reason != api.ReasonMachinesUnassigned || s.Configuration.Name != older {
		t.Errorf("Updated is %s, %s; status.configuration %s", updated.Status, updated.Reason, s.Configuration.Name)
	}
}

// TestMessageOfMany: a pool of many degraded machines has a message of bounded length.
func TestMessageOfMany(t *testing.T) {
	m := &Members{}
	for i := range 5000 {
		m.Nodes = append(m.Nodes, at(older, newer, api.StateDegraded, func(n *Node) { n.Name, n.StateReason = fmt.Sprint(i), strings.Repeat("ö", 5000) }))
	}
	c := get(t, Compute(worker(), m, now), mcfgv1.MachineConfigPoolNodeDegraded)
	if len(c.Message) > 10000 || !strings.HasSuffix(c.Message, "; and 4990 more") {
		t.Errorf("message of %d bytes ends with %q", len(c.Message), c.Message[len(c.Message)-100:])
	}
}

// TestConditionsOfOthers: they stay, in their place; a time moves with its
// status only.
func TestConditionsOfOthers(t *testing.T) {
	p := worker(has(
		condition("Building", corev1.ConditionTrue, "theirs"), condition(mcfgv1.MachineConfigPoolUpdated, corev1.ConditionFalse, "old"),
		condition(mcfgv1.MachineConfigPoolUpdating, corev1.ConditionTrue, "old"), condition("Custom", corev1.ConditionUnknown, ""),
	))
	p.Status.CertExpirys = []mcfgv1.CertExpiry{{Bundle: "theirs"}}
	s := Compute(p, &Members{Nodes: []Node{at(older, older, api.StateDone)}}, now)
	if !reflect.DeepEqual(s.Conditions[0], p.Status.Conditions[0]) || !reflect.DeepEqual(s.Conditions[3], p.Status.Conditions[3]) || !reflect.DeepEqual(s.CertExpirys, p.Status.CertExpirys) {
		t.Errorf("others were changed: %+v", s)
	}
	if c := s.Conditions[2]; !c.LastTransitionTime.Time.Equal(before) || c.Message == "old" {
		t.Errorf("Updating stayed as it is, and is %+v", c)
	}
	s = Compute(p, &Members{Nodes: []Node{at(newer, newer, api.StateDone)}}, now)
	if c := s.Conditions[1]; !c.LastTransitionTime.Time.Equal(now) || c.Status != corev1.ConditionTrue {
		t.Errorf("Updated became True, and is %+v", c)
	}
	if mcp.Condition(s.Conditions, mcfgv1.MachineConfigPoolRenderDegraded) != nil {
		t.Error("RenderDegraded was set by nobody's word")
	}
}

func TestNodeOf(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{
		"machineconfiguration.openshift.io/currentConfig": "c1", "machineconfiguration.openshift.io/desiredConfig": "c2",
		"machineconfiguration.openshift.io/currentImage": "i1", "machineconfiguration.openshift.io/desiredImage": "i2",
		"machineconfiguration.openshift.io/state": "Degraded", "machineconfiguration.openshift.io/reason": "why",
	}}}
	want := Node{Name: "n", Labels: node.Labels, Ready: true, CurrentConfig: "c1", DesiredConfig: "c2", CurrentImage: "i1", DesiredImage: "i2", State: "Degraded", StateReason: "why"}
	if n := NodeOf(node); !reflect.DeepEqual(n, want) {
		t.Errorf("the node is %+v, want %+v", n, want)
	}
	for _, row := range []struct {
		kind   corev1.NodeConditionType
		status corev1.ConditionStatus
		ready  bool
	}{
		{corev1.NodeReady, corev1.ConditionTrue, true},
		{corev1.NodeReady, corev1.ConditionFalse, false},
		{corev1.NodeReady, corev1.ConditionUnknown, false},
		{corev1.NodeDiskPressure, corev1.ConditionTrue, false},
		{corev1.NodeDiskPressure, corev1.ConditionFalse, true},
		{corev1.NodeNetworkUnavailable, corev1.ConditionTrue, false},
		{corev1.NodeMemoryPressure, corev1.ConditionTrue, true},
	} {
		node.Status.Conditions = []corev1.NodeCondition{{Type: row.kind, Status: row.status}}
		if n := NodeOf(node); n.Ready != row.ready {
			t.Errorf("with %s %s ready is %v", row.kind, row.status, n.Ready)
		}
	}
	node.Status.Conditions, node.Spec.Unschedulable = nil, true
	if NodeOf(node).Ready {
		t.Error("a cordoned node is ready")
	}
}
