package executor

import (
	"slices"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// works are the stages of the API that a Build's containers do, with their steps.
var works = map[string]struct {
	stage buildv1.StageName
	steps []buildv1.StepName
}{
	api.ContainerGitClone:         {buildv1.StageFetchInputs, []buildv1.StepName{buildv1.StepFetchGitSource}},
	api.ContainerManageDockerfile: {buildv1.StagePullImages, []buildv1.StepName{buildv1.StepPullBaseImage, buildv1.StepPullInputImage}},
	api.ContainerDockerBuild:      {buildv1.StageBuild, []buildv1.StepName{buildv1.StepDockerBuild}},
	api.ContainerSourceBuild:      {buildv1.StageBuild, []buildv1.StepName{buildv1.StepDockerBuild}},
	api.ContainerPush:             {buildv1.StagePushImage, []buildv1.StepName{buildv1.StepPushImage, buildv1.StepPushDockerImage}},
}

// stages joins what the containers of a pod say of their work. A step of a stage that
// is known goes to the end of its steps, and the stage lasts from its begin to the end
// of that step.
func stages(pod *corev1.Pod) []buildv1.StageInfo {
	var all []buildv1.StageInfo
	for _, c := range containers(pod) {
		for _, stage := range c.report.Stages {
			if bounded, ok := c.bound(stage); ok {
				all = merge(all, bounded)
			}
		}
	}
	return all
}

// bound makes a stage one that the container can have done: a step of the user's may
// have written the report. What is left of it lies within the time in which the
// container ran; a stage that is not the container's, or of one of which that time is not
// known, is left out.
func (c *container) bound(stage buildv1.StageInfo) (buildv1.StageInfo, bool) {
	work := works[c.name]
	if stage.Name != work.stage || c.end.StartedAt.IsZero() || c.end.FinishedAt.IsZero() {
		return stage, false
	}
	steps := slices.DeleteFunc(slices.Clone(stage.Steps), func(s buildv1.StepInfo) bool { return !slices.Contains(work.steps, s.Name) })
	if len(steps) == 0 {
		return stage, false
	}
	for i := range steps {
		steps[i].StartTime, steps[i].DurationMilliseconds = c.clamp(steps[i].StartTime, steps[i].DurationMilliseconds)
	}
	stage.Steps = steps
	stage.StartTime, stage.DurationMilliseconds = c.clamp(stage.StartTime, stage.DurationMilliseconds)
	return stage, true
}

func (c *container) clamp(start metav1.Time, milliseconds int64) (metav1.Time, int64) {
	// The kubelet tells whole seconds.
	first, last := c.end.StartedAt.Time, c.end.FinishedAt.Add(time.Second)
	switch {
	case start.Time.Before(first):
		milliseconds -= min(max(milliseconds, 0), first.Sub(start.Time).Milliseconds())
		start = metav1.NewTime(first)
	case start.Time.After(last):
		start = metav1.NewTime(last)
	}
	return start, max(0, min(milliseconds, last.Sub(start.Time).Milliseconds()))
}

func merge(all []buildv1.StageInfo, stage buildv1.StageInfo) []buildv1.StageInfo {
	for i := range all {
		known := &all[i]
		if known.Name != stage.Name {
			continue
		}
		known.Steps = append(known.Steps, stage.Steps...)
		for _, step := range stage.Steps {
			end := step.StartTime.Add(time.Duration(step.DurationMilliseconds) * time.Millisecond)
			known.DurationMilliseconds = max(0, end.Sub(known.StartTime.Time).Milliseconds())
		}
		return all
	}
	return append(all, stage)
}
