package executor

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
)

// step is one of a stage, both at some seconds after the pod's start.
func step(stage buildv1.StageName, name buildv1.StepName, at int, milliseconds int64) buildv1.StageInfo {
	begin := metav1.NewTime(started.Add(time.Duration(at) * time.Second).Local())
	return buildv1.StageInfo{Name: stage, StartTime: begin, DurationMilliseconds: milliseconds, Steps: []buildv1.StepInfo{{Name: name, StartTime: begin, DurationMilliseconds: milliseconds}}}
}

// TestStages: each container tells of its own, and a pull after a pull is one stage.
func TestStages(t *testing.T) {
	pod := pushedWell(
		reported("git-clone", buildreport.Report{Succeeded: true, Stages: []buildv1.StageInfo{step("FetchInputs", "FetchGitSource", 0, 2000)}}),
		reported("manage-dockerfile", buildreport.Report{Succeeded: true, Stages: []buildv1.StageInfo{step("PullImages", "PullBaseImage", 2, 1500), step("PullImages", "PullInputImage", 6, 500)}}),
		reported("docker-build", buildreport.Report{Succeeded: true, Stages: []buildv1.StageInfo{step("Build", "DockerBuild", 7, 9000)}}),
	)
	pull := step("PullImages", "PullBaseImage", 2, 1500)
	pull.Steps = append(pull.Steps, step("", "PullInputImage", 6, 500).Steps...)
	pull.DurationMilliseconds = 4500
	want := []buildv1.StageInfo{step("FetchInputs", "FetchGitSource", 0, 2000), pull, step("Build", "DockerBuild", 7, 9000)}
	for range 2 { // the reports are not changed by it
		if diff := cmp.Diff(want, Next(newBuild(running), World{Pod: pod}, now).Status.Stages); diff != "" {
			t.Errorf("stages:\n%s", diff)
		}
	}
}

// TestStagesCostNoWrite: what a container did is written with the phase that follows.
func TestStagesCostNoWrite(t *testing.T) {
	pod := newPod(corev1.PodPending, reported("manage-dockerfile", buildreport.Report{Succeeded: true, Stages: []buildv1.StageInfo{step("PullImages", "PullBaseImage", 2, 1500)}}))
	if plan := Next(newBuild(running, reference), World{Pod: pod}, now); plan.Status != nil {
		t.Errorf("a write of %+v", plan.Status)
	}
}

func TestLogSnippet(t *testing.T) {
	long := strings.Repeat("a", 58) + "X" + strings.Repeat("b", 62)
	for name, row := range map[string]struct {
		pod  *corev1.Pod
		want string
	}{
		"of a report":         {newPod(corev1.PodFailed, reported("docker-build", buildreport.Report{Reason: "DockerBuildFailed", Log: []string{"1", "2", "3", "4", "5", "6"}})), "2\n3\n4\n5\n6"},
		"of the log itself":   {newPod(corev1.PodFailed, ran("docker-build", 137, "1\n2\n3\n4\n5\n6\n")), "2\n3\n4\n5\n6"},
		"a long line":         {newPod(corev1.PodFailed, ran("docker-build", 1, long)), strings.Repeat("a", 58) + "..." + strings.Repeat("b", 59)},
		"just not too long":   {newPod(corev1.PodFailed, ran("docker-build", 1, long[:120])), long[:120]},
		"of who failed":       {newPod(corev1.PodFailed, ran("git-clone", 0, "cloned"), ran("docker-build", 1, "broke"), ran("push", 1, "never ran")), "broke"},
		"of who ended last":   {newPod(corev1.PodFailed, because("Terminated", "")), ""},
		"nobody failed":       {newPod(corev1.PodFailed, ran("git-clone", 0, "a"), ran("manage-dockerfile", 0, "b")), "b"},
		"what moves terminal": {newPod(corev1.PodFailed, ran("docker-build", 1, "\x1b[31mred\x1b[0m")), "red"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Next(newBuild(running), World{Pod: row.pod}, now).Status.LogSnippet; got != row.want {
				t.Errorf("snippet %q, want %q", got, row.want)
			}
		})
	}
	if got := Next(newBuild(running), World{Pod: pushedWell()}, now).Status.LogSnippet; got != "" {
		t.Errorf("a Build that is complete has the snippet %q", got)
	}
}

// TestTimes: the start is the pod's, and where it never got one, the end.
func TestTimes(t *testing.T) {
	unborn := newPod(corev1.PodFailed, func(p *corev1.Pod) { p.Status.StartTime = nil })
	for name, row := range map[string]struct {
		build *buildv1.Build
		pod   *corev1.Pod
		start time.Time
	}{
		"known":              {newBuild(running, func(b *buildv1.Build) { b.Status.StartTimestamp = &metav1.Time{Time: created} }), newPod(corev1.PodFailed), created},
		"of the pod":         {newBuild(phase("Pending")), newPod(corev1.PodFailed), started},
		"of none":            {newBuild(phase("Pending")), unborn, now},
		"there is no pod":    {newBuild(phase("Pending")), nil, now},
		"a clock that lags":  {newBuild(phase("Pending")), newPod(corev1.PodFailed, func(p *corev1.Pod) { p.Status.StartTime = &metav1.Time{Time: now.Add(time.Hour)} }), now.Add(time.Hour)},
		"cancelled, running": {newBuild(phase("Pending"), cancelled), newPod(corev1.PodRunning), started},
	} {
		t.Run(name, func(t *testing.T) {
			s := Next(row.build, World{Pod: row.pod}, now).Status
			if !s.StartTimestamp.Time.Equal(row.start) || !s.CompletionTimestamp.Time.Equal(now) || s.Duration != max(0, now.Sub(row.start)) {
				t.Errorf("%v to %v in %v", s.StartTimestamp, s.CompletionTimestamp, s.Duration)
			}
		})
	}
	if s := Next(newBuild(phase("Pending")), World{Pod: newPod(corev1.PodRunning)}, now).Status; !s.StartTimestamp.Time.Equal(started) {
		t.Errorf("a Build that runs started at %v", s.StartTimestamp)
	}
}

// TestRevision is told by who fetched the source, once.
func TestRevision(t *testing.T) {
	commit := &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &buildv1.GitSourceRevision{Commit: strings.Repeat("a", 40)}}
	other := &buildv1.SourceRevision{Type: buildv1.BuildSourceGit, Git: &buildv1.GitSourceRevision{Commit: strings.Repeat("b", 40)}}
	fetched := reported("git-clone", buildreport.Report{Succeeded: true, Revision: commit})
	for name, row := range map[string]struct {
		build *buildv1.Build
		pod   *corev1.Pod
		want  *buildv1.SourceRevision
	}{
		"fetched":       {newBuild(inGit, phase("Pending")), newPod(corev1.PodPending, fetched), commit},
		"at the end":    {newBuild(inGit, running), pushedWell(fetched), commit},
		"not yet":       {newBuild(inGit, running), newPod(corev1.PodPending, begun("git-clone")), nil},
		"the user's":    {newBuild(inGit, running, func(b *buildv1.Build) { b.Spec.Revision = other }), newPod(corev1.PodRunning, fetched), nil},
		"of the steps":  {newBuild(inGit, running), newPod(corev1.PodRunning, reported("docker-build", buildreport.Report{Succeeded: true, Revision: other})), nil},
		"by a failure":  {newBuild(inGit, running), newPod(corev1.PodFailed, fetched, ran("docker-build", 1, "")), commit},
		"by a deletion": {newBuild(inGit, running), newPod(corev1.PodFailed, deleted, fetched), commit},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, Next(row.build, World{Pod: row.pod}, now).Revision); diff != "" {
				t.Errorf("revision:\n%s", diff)
			}
		})
	}
}

// TestStagesAreBounded: a step can write its container's report, but not when its
// container ran, nor what stages there are.
func TestStagesAreBounded(t *testing.T) {
	second := func(n int) metav1.Time { return metav1.NewTime(started.Add(time.Duration(n) * time.Second)) }
	for name, row := range map[string]struct {
		at       int
		took     int64
		wantAt   int
		wantTook int64
	}{
		"within":             {12, 7000, 12, 7000},
		"to the end":         {10, 10999, 10, 10999}, // the kubelet tells whole seconds
		"too long":           {12, 1 << 62, 12, 9000},
		"from before":        {-1000, 1015000, 10, 5000},
		"around it":          {-1000, 9999999, 10, 11000},
		"in the future":      {1000, 5, 21, 0},
		"that ends earlier":  {12, -5, 12, 0},
		"over before it ran": {-1000, 5, 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			text := buildreport.Report{Succeeded: true, Stages: []buildv1.StageInfo{step("Build", "DockerBuild", row.at, row.took)}}.Encode()
			pod := pushedWell(terminated("docker-build", corev1.ContainerStateTerminated{Message: string(text), StartedAt: second(10), FinishedAt: second(20)}))
			want := []buildv1.StageInfo{step("Build", "DockerBuild", row.wantAt, row.wantTook)}
			if diff := cmp.Diff(want, Next(newBuild(running), World{Pod: pod}, now).Status.Stages); diff != "" {
				t.Errorf("stages:\n%s", diff)
			}
		})
	}
	for name, forged := range map[string]buildv1.StageInfo{
		"an unknown stage": step("\x1b[2J", "DockerBuild", 1, 5),
		"an unknown step":  step("Build", "Rest", 1, 5),
		"another's stage":  step("PushImage", "PushImage", 1, 5),
	} {
		t.Run(name, func(t *testing.T) {
			pod := pushedWell(reported("docker-build", buildreport.Report{Succeeded: true, Stages: []buildv1.StageInfo{forged, step("Build", "DockerBuild", 6, 500)}}))
			want := []buildv1.StageInfo{step("Build", "DockerBuild", 6, 500)}
			if got := Next(newBuild(running), World{Pod: pod}, now).Status.Stages; !cmp.Equal(got, want) {
				t.Errorf("stages %+v", got)
			}
		})
	}
	t.Run("nobody knows when it ran", func(t *testing.T) {
		text := buildreport.Report{Succeeded: true, Stages: []buildv1.StageInfo{step("Build", "DockerBuild", 1, 5)}}.Encode()
		pod := pushedWell(terminated("docker-build", corev1.ContainerStateTerminated{Message: string(text)}))
		if got := Next(newBuild(running), World{Pod: pod}, now).Status.Stages; len(got) != 0 {
			t.Errorf("stages %+v", got)
		}
	})
}
