package mcp

import (
	"slices"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// OptedIn is true of a pool with the label that is not being deleted.
func OptedIn(pool *mcfgv1.MachineConfigPool) bool {
	_, labelled := pool.Labels[api.LabelLayeringEnabled]
	return labelled && pool.DeletionTimestamp == nil
}

// HasImage is true when the pool's image is that of the config that it targets: until
// the next one is built, the annotation names that of the last config.
func HasImage(pool *mcfgv1.MachineConfigPool) bool {
	return pool.Annotations[api.AnnotationNewestImage] != "" && pool.Annotations[api.AnnotationImageConfig] == pool.Spec.Configuration.Name
}

// Condition returns the one of a type within its list; nil when there is none.
func Condition(list []mcfgv1.MachineConfigPoolCondition, kind mcfgv1.MachineConfigPoolConditionType) *mcfgv1.MachineConfigPoolCondition {
	i := slices.IndexFunc(list, func(c mcfgv1.MachineConfigPoolCondition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// True returns the condition of a type where its status is True, else nil.
func True(list []mcfgv1.MachineConfigPoolCondition, kind mcfgv1.MachineConfigPoolConditionType) *mcfgv1.MachineConfigPoolCondition {
	if c := Condition(list, kind); c != nil && c.Status == corev1.ConditionTrue {
		return c
	}
	return nil
}

// SetCondition puts a condition into a list, which it returns. The time of transition
// is now, to the second, and moves only with the status.
func SetCondition(list []mcfgv1.MachineConfigPoolCondition, c mcfgv1.MachineConfigPoolCondition, now time.Time) []mcfgv1.MachineConfigPoolCondition {
	c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	old := Condition(list, c.Type)
	if old == nil {
		return append(list, c)
	}
	if old.Status == c.Status {
		c.LastTransitionTime = old.LastTransitionTime
	}
	*old = c
	return list
}
