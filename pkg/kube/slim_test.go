package kube

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
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
	// Of a record's metadata, what somebody reads.
	read := metav1.ObjectMeta{
		Name: "r", UID: "u", ResourceVersion: "5", Labels: map[string]string{api.LabelRole: api.RoleRecord},
		Annotations: map[string]string{api.AnnotationPool: "p", api.AnnotationPoolUID: "v", api.AnnotationRenderedConfig: "c"},
	}
	whole := *read.DeepCopy()
	whole.OwnerReferences = []metav1.OwnerReference{{Name: "p"}}
	whole.Labels[api.LabelBuildPod] = ""
	whole.Annotations[api.AnnotationInputsHash] = "h"
	configuration := mcfgv1.MachineConfigPoolStatusConfiguration{
		ObjectReference: corev1.ObjectReference{Name: "rendered-p-a", Kind: "MachineConfig"}, Source: make([]corev1.ObjectReference, 2),
	}
	named := mcfgv1.MachineConfigPoolStatusConfiguration{ObjectReference: corev1.ObjectReference{Name: "rendered-p-a"}}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{"e": "f"}}
	stamp := metav1.Unix(1700000000, 0)
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
		"of records, the log and what nobody reads goes": {
			&corev1.ConfigMap{ObjectMeta: whole, Data: map[string]string{api.KeyRecord: "b", api.KeyLog: "c"}},
			&corev1.ConfigMap{ObjectMeta: read, Data: map[string]string{api.KeyRecord: "b"}},
		},
		"settings stay": {
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Data: map[string]string{"c": "d"}},
			&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Data: map[string]string{"c": "d"}},
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
					NodeSelector: selector, MachineConfigSelector: selector, Configuration: configuration, Paused: true,
					PinnedImageSets: []mcfgv1.PinnedImageSetRef{{Name: "x"}},
				},
				Status: mcfgv1.MachineConfigPoolStatus{
					ObservedGeneration: 6, MachineCount: 5, UpdatedMachineCount: 4, ReadyMachineCount: 3, UnavailableMachineCount: 2, DegradedMachineCount: 1,
					Configuration: configuration, Conditions: conditions, CertExpirys: []mcfgv1.CertExpiry{{Bundle: "x"}},
				},
			},
			&mcfgv1.MachineConfigPool{
				ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}},
				Spec:       mcfgv1.MachineConfigPoolSpec{NodeSelector: selector, MachineConfigSelector: selector, Configuration: named, Paused: true},
				Status: mcfgv1.MachineConfigPoolStatus{
					ObservedGeneration: 6, MachineCount: 5, UpdatedMachineCount: 4, ReadyMachineCount: 3, UnavailableMachineCount: 2, DegradedMachineCount: 1,
					Configuration: named, Conditions: conditions,
				},
			},
		},
		"of configs, what identifies and selects stays": {
			&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				Name: "c", UID: "u", ResourceVersion: "5", Generation: 2, CreationTimestamp: stamp, DeletionTimestamp: &stamp,
				Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"a": "b"}, OwnerReferences: []metav1.OwnerReference{{Name: "p"}},
			}},
			&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
				Name: "c", UID: "u", ResourceVersion: "5", Generation: 2, CreationTimestamp: stamp, DeletionTimestamp: &stamp,
				Labels: map[string]string{"a": "b"}, OwnerReferences: []metav1.OwnerReference{{Name: "p"}},
			}},
		},
		"of nodes, what agents say stays": {
			&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{api.AnnotationState: "Done", "c": "d"}},
				Spec:       corev1.NodeSpec{PodCIDR: "10.0.0.0/24", Unschedulable: true},
				Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady}}, Images: make([]corev1.ContainerImage, 2)},
			},
			&corev1.Node{
				ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{api.AnnotationState: "Done"}},
				Spec:       corev1.NodeSpec{Unschedulable: true},
				Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady}}},
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

// TestSlimEndedBuild: of a Build that has ended only what is still read is kept; one that
// has not is what its pod will be made of.
func TestSlimEndedBuild(t *testing.T) {
	file := "FROM scratch\n"
	to := &corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/team/app:1"}
	metadata := metav1.ObjectMeta{Namespace: "team", Name: "app-1", UID: "u", ResourceVersion: "5", Labels: map[string]string{"a": "b"}, Annotations: map[string]string{"c": "d"}}
	build := func(phase buildv1.BuildPhase) *buildv1.Build {
		b := &buildv1.Build{ObjectMeta: *metadata.DeepCopy(), Status: buildv1.BuildStatus{
			Phase: phase, Message: "m", LogSnippet: "l", Stages: []buildv1.StageInfo{{Name: buildv1.StageBuild}},
		}}
		b.Spec.Source.Dockerfile = &file
		b.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{Env: []corev1.EnvVar{{Name: "e", Value: "f"}}}
		b.Spec.Output = buildv1.BuildOutput{To: to, PushSecret: &corev1.LocalObjectReference{Name: "s"}, ImageLabels: []buildv1.ImageLabel{{Name: "i"}}}
		b.Spec.Revision = &buildv1.SourceRevision{Git: &buildv1.GitSourceRevision{Message: "r"}}
		return b
	}
	for phase, ended := range map[buildv1.BuildPhase]bool{
		"": false, buildv1.BuildPhaseNew: false, buildv1.BuildPhasePending: false, buildv1.BuildPhaseRunning: false, "Unheard": false,
		buildv1.BuildPhaseComplete: true, buildv1.BuildPhaseFailed: true, buildv1.BuildPhaseError: true, buildv1.BuildPhaseCancelled: true,
	} {
		have, want := build(phase), build(phase)
		have.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "x"}}
		if ended {
			want.Spec = buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{Output: buildv1.BuildOutput{To: to}}}
		}
		for range 2 { // what an informer hands over again is slim already
			got, err := slimEndedBuild(have)
			if diff := cmp.Diff(any(want), got); diff != "" || err != nil {
				t.Errorf("phase %q: %v\n%s", phase, err, diff)
			}
		}
	}
	tombstone := cache.DeletedFinalStateUnknown{Key: "x"}
	if got, err := slimEndedBuild(tombstone); got != any(tombstone) || err != nil {
		t.Errorf("of a tombstone it makes %v, %v", got, err)
	}
}
