package kubelet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Exit codes of a process ended by a signal.
const (
	exitKilled     = 128 + 9
	exitTerminated = 128 + 15
)

// nobody has an image of this digest.
const nobody = "sha256:badbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbad0"

// write reports a status as the kubelet does: a patch of the status that is
// refused once the name belongs to another pod.
func (a *actor) write(ctx context.Context, status corev1.PodStatus) {
	status.StartTime = &a.started
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": a.pod.UID}, "status": status})
	if err != nil {
		return // a status can be marshalled
	}
	a.insist(ctx, func() error {
		_, err := a.Client.CoreV1().Pods(a.Namespace).Patch(ctx, a.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
		return err
	})
}

// step is the container that a run of the user's steps has, else the only one.
func (a *actor) step() string {
	steps := a.pod.Spec.InitContainers
	switch {
	case len(steps) == 0:
		return a.last()
	case ofBuild(a.pod):
		return steps[len(steps)-1].Name
	default:
		return api.ContainerBuild
	}
}

// last is the container that ends last.
func (a *actor) last() string { return a.pod.Spec.Containers[0].Name }

func (a *actor) running() corev1.PodStatus {
	if ofBuild(a.pod) {
		return a.runningBuild()
	}
	c := a.pod.Spec.Containers[0]
	state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: a.now()}}
	return corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: c.Name, Image: c.Image, State: state}}}
}

// succeeded is a run that ended well and reported a result.
func (a *actor) succeeded(message string) corev1.PodStatus {
	status := corev1.PodStatus{Phase: corev1.PodSucceeded}
	for _, c := range a.pod.Spec.InitContainers {
		a.put(&status, c.Name, corev1.ContainerStateTerminated{Reason: "Completed"})
	}
	a.put(&status, a.last(), corev1.ContainerStateTerminated{Reason: "Completed", Message: message})
	return status
}

// failed is a run that ended when a container did.
func (a *actor) failed(container string, t corev1.ContainerStateTerminated) corev1.PodStatus {
	status := corev1.PodStatus{Phase: corev1.PodFailed}
	a.put(&status, container, t)
	return status
}

// terminated is a run that was asked to go.
func (a *actor) terminated() corev1.PodStatus {
	return a.failed(a.step(), corev1.ContainerStateTerminated{ExitCode: exitTerminated, Reason: "Error"})
}

func (a *actor) put(status *corev1.PodStatus, container string, t corev1.ContainerStateTerminated) {
	t.FinishedAt = a.now()
	s := corev1.ContainerStatus{Name: container, State: corev1.ContainerState{Terminated: &t}}
	if slices.ContainsFunc(a.pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == container }) {
		status.InitContainerStatuses = append(status.InitContainerStatuses, s)
		return
	}
	status.ContainerStatuses = append(status.ContainerStatuses, s)
}

// final is the status of a run that ended.
func (a *actor) final(ctx context.Context, how Outcome) corev1.PodStatus {
	switch how {
	case Succeed:
		if ofBuild(a.pod) {
			return a.builtBuild(ctx)
		}
		result, err := a.push(ctx)
		if err != nil {
			return a.reported(a.last(), buildspec.Result{Reason: api.ReasonPushFailed, Message: fmt.Sprintf("pushing the image: %v", err)})
		}
		return a.succeeded(string(result.Encode()))
	case Forge:
		digest := cmp.Or(a.script.Digest, nobody)
		if ofBuild(a.pod) {
			return a.buildDone(digest)
		}
		return a.succeeded(string(buildspec.Result{Succeeded: true, Digest: digest}.Encode()))
	case Mute:
		return a.succeeded("")
	case Evict:
		return corev1.PodStatus{
			Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on resource: memory.",
			Conditions: []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "TerminationByKubelet"}},
		}
	case OutOfMemory:
		return a.failed(a.step(), corev1.ContainerStateTerminated{ExitCode: exitKilled, Reason: "OOMKilled"})
	case Kill:
		return a.failed(a.step(), corev1.ContainerStateTerminated{ExitCode: exitKilled, Reason: "Error"})
	case Fail, Hang:
	}
	if ofBuild(a.pod) {
		return a.buildFailed(a.step(), buildv1.StatusReasonDockerBuildFailed, failing+": exit code 1")
	}
	return a.reported(a.step(), buildspec.Result{
		Reason: api.ReasonBuildFailed, Message: "line 2: " + failing + ": exit code 1",
		Line: 2, Step: failing, ExitCode: 1, Log: []string{"it said no"},
	})
}

// reported is a run whose container said what failed.
func (a *actor) reported(container string, r buildspec.Result) corev1.PodStatus {
	return a.failed(container, corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: string(r.Encode())})
}
