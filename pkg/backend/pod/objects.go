package pod

import (
	"maps"
	"strconv"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// changesSeparator joins the changes in one annotation.
const changesSeparator = "\n"

func meta(r buildspec.Request, name, role string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name,
		Labels: map[string]string{
			api.LabelBuildPod:      "",
			api.LabelTargetPool:    names.LabelValue(r.Pool.Name),
			api.LabelDesiredConfig: names.LabelValue(r.RenderedConfig),
			api.LabelRole:          role,
		},
		Annotations: map[string]string{
			api.AnnotationBuildObject:    "",
			api.AnnotationPool:           r.Pool.Name,
			api.AnnotationPoolUID:        string(r.Pool.UID),
			api.AnnotationRenderedConfig: r.RenderedConfig,
			api.AnnotationInputsHash:     r.ID,
			api.AnnotationRebuildToken:   r.RebuildToken,
		},
	}
}

// root is the first chunk of the MachineConfig.
func root(r buildspec.Request) *corev1.ConfigMap {
	cm := chunk(r, 0)
	cm.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfigPool", Name: r.Pool.Name, UID: r.Pool.UID,
	}}
	return cm
}

func chunk(r buildspec.Request, i int) *corev1.ConfigMap {
	return input(r, names.MachineConfigMap(r.RenderedConfig, i), api.KeyMachineConfig, r.MachineConfig.Chunks[i])
}

// dependents are the further ConfigMaps of a build, owned by its root.
func dependents(r buildspec.Request, root *corev1.ConfigMap) []*corev1.ConfigMap {
	var inputs []*corev1.ConfigMap
	for i, text := range r.DockerfileChunks() {
		inputs = append(inputs, input(r, names.DockerfileMap(r.RenderedConfig, i), api.KeyDockerfile, text))
	}
	for i := 1; i < len(r.MachineConfig.Chunks); i++ {
		inputs = append(inputs, chunk(r, i))
	}
	if data := networkData(r.Network); len(data) > 0 {
		cm := input(r, names.NetworkMap(r.RenderedConfig), "", "")
		cm.Data = data
		inputs = append(inputs, cm)
	}
	for _, cm := range inputs {
		cm.OwnerReferences = ownedBy(root)
	}
	return inputs
}

// networkData is what no other object holds of how a build reaches registries.
func networkData(n buildspec.Network) map[string]string {
	data := map[string]string{api.KeyRegistriesConf: n.Registries}
	if n.ProxySecret == "" {
		data[api.KeyHTTPProxy], data[api.KeyHTTPSProxy], data[api.KeyNoProxy] = n.Proxy.HTTP, n.Proxy.HTTPS, n.Proxy.No
	}
	maps.DeleteFunc(data, func(_, value string) bool { return value == "" })
	return data
}

// input is not immutable, though it never changes: the kubelet keeps what it
// read of an immutable ConfigMap for as long as it knows a pod that refers to
// the name, and would show a new build the input of the one before.
func input(r buildspec.Request, name, key, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: meta(r, name, api.RoleInput),
		Data:       map[string]string{key: value},
	}
}

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
	m := meta(r, name, api.RoleRun)
	for k, v := range pod.Annotations {
		m.Annotations[k] = v
	}
	m.Annotations[api.AnnotationAttempt] = strconv.Itoa(r.Attempt)
	m.Annotations[api.AnnotationChanges] = strings.Join(r.Changes, changesSeparator)
	m.OwnerReferences = ownedBy(root)
	pod.ObjectMeta = m
	return pod
}

func ownedBy(root *corev1.ConfigMap) []metav1.OwnerReference {
	controller, block := true, true
	return []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "ConfigMap", Name: root.Name, UID: root.UID,
		Controller: &controller, BlockOwnerDeletion: &block,
	}}
}
