package mcp

import (
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

func TestOptedIn(t *testing.T) {
	labels, gone := map[string]string{api.LabelLayeringEnabled: ""}, metav1.Now()
	for name, row := range map[string]struct {
		pool mcfgv1.MachineConfigPool
		want bool
	}{
		"no label":              {mcfgv1.MachineConfigPool{}, false},
		"labelled":              {mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Labels: labels}}, true},
		"S05: it is being gone": {mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Labels: labels, DeletionTimestamp: &gone}}, false},
	} {
		if got := OptedIn(&row.pool); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

func TestHasImage(t *testing.T) {
	for name, row := range map[string]struct {
		image, of, target string
		want              bool
	}{
		"none":               {"", "", "a", false},
		"of its config":      {"image", "a", "a", true},
		"of the last config": {"image", "a", "b", false},
	} {
		pool := &mcfgv1.MachineConfigPool{}
		pool.Annotations = map[string]string{api.AnnotationNewestImage: row.image, api.AnnotationImageConfig: row.of}
		pool.Spec.Configuration.Name = row.target
		if got := HasImage(pool); got != row.want {
			t.Errorf("%s: %v, want %v", name, got, row.want)
		}
	}
}

func TestConditions(t *testing.T) {
	const kind = mcfgv1.MachineConfigPoolBuilding
	began := time.Date(2026, 3, 1, 12, 0, 0, 999, time.UTC)
	var list []mcfgv1.MachineConfigPoolCondition
	if Condition(list, kind) != nil || True(list, kind) != nil {
		t.Error("an empty list has a condition")
	}
	for i, step := range []struct {
		status  corev1.ConditionStatus
		reason  string
		changed time.Duration // since began
	}{
		{corev1.ConditionFalse, "first", 0},
		{corev1.ConditionFalse, "second", 0},
		{corev1.ConditionTrue, "third", 2 * time.Hour},
		{corev1.ConditionTrue, "fourth", 2 * time.Hour},
	} {
		list = SetCondition(list, mcfgv1.MachineConfigPoolCondition{Type: kind, Status: step.status, Reason: step.reason}, began.Add(time.Duration(i)*time.Hour))
		c := Condition(list, kind)
		if len(list) != 1 || c == nil || c.Reason != step.reason || !c.LastTransitionTime.Time.Equal(began.Truncate(time.Second).Add(step.changed)) {
			t.Errorf("%s: %+v", step.reason, list)
		}
		if isTrue := True(list, kind) != nil; isTrue != (step.status == corev1.ConditionTrue) {
			t.Errorf("%s: true %v", step.reason, isTrue)
		}
	}
}
