package pod

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

func run(r buildspec.Request, root *corev1.ConfigMap) *corev1.Pod {
	return dress(r, root, names.Build(r.RenderedConfig), buildpod.New(r))
}

// runPart is the pod of one architecture in a run.
func runPart(r buildspec.Request, root *corev1.ConfigMap, architecture, id string) *corev1.Pod {
	pod := dress(r, root, names.BuildFor(r.RenderedConfig, architecture), buildpod.NewFor(r, architecture, id))
	pod.Annotations[api.AnnotationArchitecture] = architecture
	pod.Annotations[api.AnnotationArchitectures] = strings.Join(r.Architectures, ",")
	pod.Annotations[api.AnnotationRun] = id
	return pod
}

// dress gives a pod its metadata.
func dress(r buildspec.Request, root *corev1.ConfigMap, name string, pod *corev1.Pod) *corev1.Pod {
	m := inputs.RunMeta(r, root, name)
	maps.Copy(m.Annotations, pod.Annotations)
	pod.ObjectMeta = m
	return pod
}
