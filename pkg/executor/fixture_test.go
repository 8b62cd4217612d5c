package executor

import (
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
)

const (
	digest   = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	pullspec = "registry.example.com/team/app:1"
)

// created is when the Build was, started when its pod was, now when it is looked at.
var (
	created = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	started = created.Add(3 * time.Second)
	now     = created.Add(63 * time.Second)
)

// newBuild is a valid Build by a Dockerfile, with changes.
func newBuild(changes ...func(*buildv1.Build)) *buildv1.Build {
	dockerfile := "FROM registry.example.com/base:1\nRUN make\n"
	b := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: "app-1", UID: "uid-of-build", CreationTimestamp: metav1.NewTime(created),
		Labels: map[string]string{"app": "app"}, Annotations: map[string]string{"note": "a \"b\""},
	}}
	b.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceDockerfile, Dockerfile: &dockerfile}
	b.Spec.Strategy = buildv1.BuildStrategy{Type: buildv1.DockerBuildStrategyType, DockerStrategy: &buildv1.DockerBuildStrategy{}}
	b.Spec.Output.To = &corev1.ObjectReference{Kind: "DockerImage", Name: pullspec}
	for _, change := range changes {
		change(b)
	}
	return b
}

func phase(p buildv1.BuildPhase) func(*buildv1.Build) {
	return func(b *buildv1.Build) { b.Status.Phase = p }
}

func running(b *buildv1.Build) {
	b.Status.Phase = buildv1.BuildPhaseRunning
	b.Status.StartTimestamp = &metav1.Time{Time: started}
}

func withPush(b *buildv1.Build) {
	b.Spec.Output.PushSecret = &corev1.LocalObjectReference{Name: "push"}
}

func cancelled(b *buildv1.Build) { b.Status.Cancelled = true }

func inGit(b *buildv1.Build) {
	b.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceGit, Git: &buildv1.GitBuildSource{URI: "https://git.example.com/app.git"}}
}

// newPod is a pod of the Build, with changes.
func newPod(p corev1.PodPhase, changes ...func(*corev1.Pod)) *corev1.Pod {
	yes := true
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team", Name: "app-1-build", UID: "uid-of-pod",
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "build.openshift.io/v1", Kind: "Build", Name: "app-1", UID: "uid-of-build", Controller: &yes}},
	}}
	pod.Status = corev1.PodStatus{Phase: p, StartTime: &metav1.Time{Time: started}}
	for _, change := range changes {
		change(pod)
	}
	return pod
}

func deleted(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: now} }

func because(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Reason, p.Status.Message = reason, message }
}

// ran adds a container that ended, an init container unless it is the one that pushes.
func ran(name string, exit int32, message string) func(*corev1.Pod) {
	return terminated(name, corev1.ContainerStateTerminated{
		ExitCode: exit, Message: message, StartedAt: metav1.NewTime(started), FinishedAt: metav1.NewTime(now),
	})
}

func terminated(name string, t corev1.ContainerStateTerminated) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		s := corev1.ContainerStatus{Name: name, State: corev1.ContainerState{Terminated: &t}}
		if name == api.ContainerPush {
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
			return
		}
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, s)
	}
}

func begun(name string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.InitContainerStatuses = append(p.Status.InitContainerStatuses, corev1.ContainerStatus{
			Name: name, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
		})
	}
}

// reported is a container that ended with a report.
func reported(name string, r buildreport.Report) func(*corev1.Pod) {
	exit := int32(1)
	if r.Succeeded {
		exit = 0
	}
	return ran(name, exit, string(r.Encode()))
}

// pushedWell is a pod that succeeded.
func pushedWell(changes ...func(*corev1.Pod)) *corev1.Pod {
	return newPod(corev1.PodSucceeded, append(changes, reported(api.ContainerPush, buildreport.Report{Succeeded: true, Digest: digest}))...)
}

func secrets(names ...string) map[string]*corev1.Secret {
	all := map[string]*corev1.Secret{}
	for _, name := range names {
		all[name] = &corev1.Secret{Data: map[string][]byte{"key": []byte("value of " + name)}}
	}
	return all
}

func configMaps(names ...string) map[string]*corev1.ConfigMap {
	all := map[string]*corev1.ConfigMap{}
	for _, name := range names {
		all[name] = &corev1.ConfigMap{Data: map[string]string{"key": "value of " + name}}
	}
	return all
}
