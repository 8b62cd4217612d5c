package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
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
	configuration := mcfgv1.MachineConfigPoolStatusConfiguration{
		ObjectReference: corev1.ObjectReference{Name: "rendered-p-a", Kind: "MachineConfig"}, Source: make([]corev1.ObjectReference, 2),
	}
	conditions := []mcfgv1.MachineConfigPoolCondition{{Type: mcfgv1.MachineConfigPoolUpdated}}
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
		"the log of a record goes": {
			&corev1.ConfigMap{ObjectMeta: labelled(api.RoleRecord), Data: map[string]string{"a": "b", api.KeyLog: "c"}},
			&corev1.ConfigMap{ObjectMeta: labelled(api.RoleRecord), Data: map[string]string{"a": "b"}},
		},
		"the Dockerfile of a pool named log stays": {
			&corev1.ConfigMap{Data: map[string]string{api.KeyLog: "RUN true"}},
			&corev1.ConfigMap{Data: map[string]string{api.KeyLog: "RUN true"}},
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
		"of pools, what decides stays": {
			&mcfgv1.MachineConfigPool{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}},
				Spec: mcfgv1.MachineConfigPoolSpec{
					NodeSelector: &metav1.LabelSelector{}, Configuration: configuration, Paused: true,
				},
				Status: mcfgv1.MachineConfigPoolStatus{MachineCount: 3, Configuration: configuration, Conditions: conditions},
			},
			&mcfgv1.MachineConfigPool{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}},
				Spec: mcfgv1.MachineConfigPoolSpec{Configuration: mcfgv1.MachineConfigPoolStatusConfiguration{
					ObjectReference: corev1.ObjectReference{Name: "rendered-p-a"},
				}},
				Status: mcfgv1.MachineConfigPoolStatus{Conditions: conditions},
			},
		},
		"of configs, what identifies stays": {
			&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				Name: "c", UID: "u", ResourceVersion: "5", Generation: 2,
				Annotations: map[string]string{"a": "b"}, OwnerReferences: []metav1.OwnerReference{{Name: "p"}},
			}},
			&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "c", UID: "u", ResourceVersion: "5", Generation: 2}},
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
