package poolstatus

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// Node is what a pool's status needs of a node.
type Node struct {
	Name   string
	Labels map[string]string
	// Ready: the node takes pods.
	Ready bool
	// What the node's agent says; see pkg/api.
	CurrentConfig, DesiredConfig string
	CurrentImage, DesiredImage   string
	State, StateReason           string
}

// NodeOf reads a node.
func NodeOf(n *corev1.Node) Node {
	return Node{
		Name:          n.Name,
		Labels:        n.Labels,
		Ready:         ready(n),
		CurrentConfig: n.Annotations[api.AnnotationCurrentConfig],
		DesiredConfig: n.Annotations[api.AnnotationDesiredConfig],
		CurrentImage:  n.Annotations[api.AnnotationCurrentImage],
		DesiredImage:  n.Annotations[api.AnnotationDesiredImage],
		State:         n.Annotations[api.AnnotationState],
		StateReason:   n.Annotations[api.AnnotationStateReason],
	}
}

// ready is false for a node that is cordoned, or that says of itself that it is
// not ready, short of disk or without network. One that says nothing is ready.
func ready(n *corev1.Node) bool {
	good := map[corev1.NodeConditionType]corev1.ConditionStatus{
		corev1.NodeReady:              corev1.ConditionTrue,
		corev1.NodeDiskPressure:       corev1.ConditionFalse,
		corev1.NodeNetworkUnavailable: corev1.ConditionFalse,
	}
	for _, c := range n.Status.Conditions {
		if want, ok := good[c.Type]; ok && c.Status != want {
			return false
		}
	}
	return !n.Spec.Unschedulable
}

// done is true for a node that has what it is to have.
func (n Node) done() bool {
	return n.CurrentConfig != "" && n.CurrentConfig == n.DesiredConfig && n.CurrentImage == n.DesiredImage && n.State == api.StateDone
}

func (n Node) degraded() bool {
	return n.State == api.StateDegraded || n.State == api.StateUnreconcilable
}

func (n Node) unavailable() bool { return !n.Ready || !n.done() && !n.degraded() }
