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
		return a.buildFailed(a.last(), buildv1.StatusReasonPushImageToRegistryFailed, fmt.Sprintf("pushing the image: %v", err))
	}
	return a.buildDone(digest)
}

// buildFailed is a pod of a Build whose container said what failed.
func (a *actor) buildFailed(container string, reason buildv1.StatusReason, message string) corev1.PodStatus {
	return a.failed(container, corev1.ContainerStateTerminated{
		ExitCode: 1, Reason: "Error", Message: string(buildreport.Report{Reason: reason, Message: message}.Encode()),
	})
}

// buildDone is a pod that says to have pushed a digest.
func (a *actor) buildDone(digest string) corev1.PodStatus {
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
	b, err := buildOf(a.pod)
	if err != nil {
		return "", err
	}
	if b.Spec.Output.To == nil {
		return "", errNoBuild
	}
	labels, err := a.buildLabels(b)
	if err != nil {
		return "", err
	}
	image, err := mutate.Config(empty.Image, v1.Config{Labels: labels})
	if err != nil {
		return "", err
	}
	return a.Registry.Push(ctx, b.Spec.Output.To.Name, image)
}

// buildOf is the Build in a pod's environment.
func buildOf(pod *corev1.Pod) (*buildv1.Build, error) {
	b := &buildv1.Build{}
	for _, e := range pod.Spec.Containers[0].Env {
		if e.Name == api.EnvBuild {
			if err := json.Unmarshal([]byte(strings.ReplaceAll(e.Value, "$$", "$")), b); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// buildDockerfile is that of the Build in a pod's environment; empty for none.
func buildDockerfile(pod *corev1.Pod) string {
	b, err := buildOf(pod)
	if err != nil || b.Spec.Source.Dockerfile == nil {
		return ""
	}
	return *b.Spec.Source.Dockerfile
}

// buildLabels are those that a Build asks for, in its output and its Dockerfile,
// and those of push.
func (a *actor) buildLabels(b *buildv1.Build) (map[string]string, error) {
	labels := map[string]string{LabelRun: string(a.pod.UID)}
	for _, l := range b.Spec.Output.ImageLabels {
		labels[l.Name] = l.Value
	}
	final := ""
	for line := range strings.Lines(buildDockerfile(a.pod)) {
		if label, ok := strings.CutPrefix(line, "LABEL "); ok {
			key, value, _ := strings.Cut(strings.TrimSpace(label), "=")
			labels[key] = value
			continue
		}
		if final += line; strings.HasPrefix(line, "FROM ") {
			final = "" // what its last stage does
		}
	}
	if a.Plain || len(a.mounted[api.KeyMachineConfig]) == 0 {
		return labels, nil
	}
	var err error
	labels[LabelDockerfile] = final
	labels[LabelMachineConfig], err = a.machineConfig()
	return labels, err
}
