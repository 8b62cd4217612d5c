package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
)

// ofBuild says whether a pod is of a Build of build.openshift.io.
func ofBuild(pod *corev1.Pod) bool { return pod.Annotations[buildv1.BuildAnnotation] != "" }

var errNoBuild = errors.New("the pod has no Build with an output in its environment")

// runningBuild is a pod whose steps run: an init container does that.
func (a *actor) runningBuild() corev1.PodStatus {
	status := corev1.PodStatus{Phase: corev1.PodPending}
	for i, c := range a.pod.Spec.InitContainers {
		state := corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: a.now()}}
		if i < len(a.pod.Spec.InitContainers)-1 {
			state = corev1.ContainerState{Terminated: a.reportedWell(buildreport.Report{})}
		}
		status.InitContainerStatuses = append(status.InitContainerStatuses, corev1.ContainerStatus{Name: c.Name, Image: c.Image, State: state})
	}
	return status
}

// builtBuild is a pod that has pushed the image of a Build.
func (a *actor) builtBuild(ctx context.Context) corev1.PodStatus {
	digest, err := a.pushBuild(ctx)
	if err != nil {
		return a.failed(a.last(), corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: string(buildreport.Report{
			Reason: buildv1.StatusReasonPushImageToRegistryFailed, Message: fmt.Sprintf("pushing the image: %v", err),
		}.Encode())})
	}
	status := corev1.PodStatus{Phase: corev1.PodSucceeded}
	took := a.now().Sub(a.started.Time).Milliseconds()
	stage := buildv1.StageInfo{
		Name: buildv1.StageBuild, StartTime: a.started, DurationMilliseconds: took,
		Steps: []buildv1.StepInfo{{Name: buildv1.StepDockerBuild, StartTime: a.started, DurationMilliseconds: took}},
	}
	for _, c := range a.pod.Spec.InitContainers {
		report := buildreport.Report{}
		if strings.HasSuffix(c.Name, "-build") {
			report.Stages = []buildv1.StageInfo{stage}
		}
		a.put(&status, c.Name, *a.reportedWell(report))
	}
	a.put(&status, a.last(), *a.reportedWell(buildreport.Report{Digest: digest}))
	return status
}

func (a *actor) reportedWell(r buildreport.Report) *corev1.ContainerStateTerminated {
	r.Succeeded = true
	return &corev1.ContainerStateTerminated{Reason: "Completed", Message: string(r.Encode()), StartedAt: a.started, FinishedAt: metav1.NewTime(a.Clock.Now())}
}

// pushBuild pushes what the Build in the environment wants pushed.
func (a *actor) pushBuild(ctx context.Context) (string, error) {
	b := &buildv1.Build{}
	for _, e := range a.pod.Spec.Containers[0].Env {
		if e.Name == api.EnvBuild {
			if err := json.Unmarshal([]byte(strings.ReplaceAll(e.Value, "$$", "$")), b); err != nil {
				return "", err
			}
		}
	}
	if b.Spec.Output.To == nil {
		return "", errNoBuild
	}
	image, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{LabelRun: string(a.pod.UID)}})
	if err != nil {
		return "", err
	}
	return a.Registry.Push(ctx, b.Spec.Output.To.Name, image)
}
