package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

func TestSlim(t *testing.T) {
	managed := []metav1.ManagedFieldsEntry{{Manager: "x"}}
	limits := corev1.ResourceRequirements{Limits: corev1.ResourceList{}}
	labelled := func(role string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Labels: map[string]string{api.LabelRole: role}}
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "x"}
	for name, row := range map[string]struct{ have, want any }{
		"managed fields go": {
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{ManagedFields: managed, Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "a": "b"}}},
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"a": "b"}}},
		},
		"the content of inputs goes": {
			&corev1.ConfigMap{ObjectMeta: labelled(api.RoleInput), Data: map[string]string{"a": "b"}, BinaryData: map[string][]byte{"c": nil}},
			&corev1.ConfigMap{ObjectMeta: labelled(api.RoleInput)},
		},
		"records and settings stay": {
			&corev1.ConfigMap{ObjectMeta: labelled(api.RoleRecord), Data: map[string]string{"a": "b"}},
			&corev1.ConfigMap{ObjectMeta: labelled(api.RoleRecord), Data: map[string]string{"a": "b"}},
		},
		"of pods, what failures name stays": {
			&corev1.Pod{
				Spec: corev1.PodSpec{
					Volumes:        []corev1.Volume{{Name: "v"}},
					InitContainers: []corev1.Container{{Name: "i", Image: "x", Args: []string{"--a"}}},
					Containers:     []corev1.Container{{Name: "c", Image: "y", Resources: limits, Command: []string{"z"}}},
				},
				Status: corev1.PodStatus{Phase: corev1.PodRunning},
			},
			&corev1.Pod{
				Spec: corev1.PodSpec{
					InitContainers: []corev1.Container{{Name: "i", Image: "x"}},
					Containers:     []corev1.Container{{Name: "c", Image: "y", Resources: limits}},
				},
				Status: corev1.PodStatus{Phase: corev1.PodRunning},
			},
		},
		"a tombstone is kept": {tombstone, tombstone},
	} {
		got, err := slim(row.have)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}
