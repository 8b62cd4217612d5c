package executor

import (
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestPodName: a Build says which pod is its own, once it has one.
func TestPodName(t *testing.T) {
	says := func(name string) func(*buildv1.Build) {
		return func(b *buildv1.Build) { b.Annotations["openshift.io/build.pod-name"] = name }
	}
	foreign := newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences = nil })
	for name, row := range map[string]struct {
		build *buildv1.Build
		pod   *corev1.Pod
		want  string
	}{
		"the pod is created":               {newBuild(), nil, "app-1-build"},
		"it was named before":              {newBuild(says("app-1-build")), nil, ""},
		"it is a copy of another":          {newBuild(says("app-0-build")), nil, "app-1-build"},
		"the pod was created before":       {newBuild(), newPod(corev1.PodPending), "app-1-build"},
		"the status was written before":    {newBuild(running), newPod(corev1.PodRunning), "app-1-build"},
		"both were":                        {newBuild(running, says("app-1-build")), newPod(corev1.PodRunning), ""},
		"the pod has ended":                {newBuild(running), pushedWell(), "app-1-build"},
		"another's pod":                    {newBuild(), foreign, ""},
		"an input is missing":              {newBuild(func(b *buildv1.Build) { b.Spec.Source.SourceSecret = &corev1.LocalObjectReference{Name: "c"} }), nil, ""},
		"it is not valid":                  {newBuild(func(b *buildv1.Build) { b.Spec.Source.ContextDir = "../x" }), nil, ""},
		"it is cancelled and the pod goes": {newBuild(cancelled, running), newPod(corev1.PodRunning), ""},
		"it has ended":                     {newBuild(phase("Complete"), settled), pushedWell(), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Next(row.build, World{Pod: row.pod}, now).PodName; got != row.want {
				t.Errorf("the pod's name to write is %q, want %q", got, row.want)
			}
		})
	}
	t.Run("a name that is cut", func(t *testing.T) {
		b := newBuild(func(b *buildv1.Build) { b.Name = strings.Repeat("a", 253) })
		if got := Next(b, World{}, now).PodName; len(got) != 253 || !strings.HasSuffix(got, "-build") {
			t.Errorf("the pod's name to write is %q", got)
		}
	})
}
