package inputs

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// changesSeparator joins the changes in one annotation.
const changesSeparator = "\n"

func meta(r buildspec.Request, name, role string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{
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
	if r.Builder != api.BuilderCustomPod {
		m.Annotations[api.AnnotationBuilder] = r.Builder
	}
	return m
}

// builderOf is who builds with an object of ours.
func builderOf(m metav1.ObjectMeta) string {
	return cmp.Or(m.Annotations[api.AnnotationBuilder], api.BuilderCustomPod)
}

// RunMeta is the metadata of a build's run, which its root owns.
func RunMeta(r buildspec.Request, root *corev1.ConfigMap, name string) metav1.ObjectMeta {
	m := meta(r, name, api.RoleRun)
	m.Annotations[api.AnnotationAttempt] = strconv.Itoa(r.Attempt)
	m.Annotations[api.AnnotationChanges] = strings.Join(r.Changes, changesSeparator)
	m.OwnerReferences = ownedBy(root)
	return m
}

// ReadRun reads back what RunMeta says of the try, and what the API server does.
func ReadRun(o *backend.Observation, m metav1.ObjectMeta) {
	o.UID, o.Created = m.UID, m.CreationTimestamp.Time
	// A run that says no number is taken as a first try.
	o.Attempt, _ = strconv.Atoi(m.Annotations[api.AnnotationAttempt])
	if changes := m.Annotations[api.AnnotationChanges]; changes != "" {
		o.Changes = strings.Split(changes, changesSeparator)
	}
}

// Root is the first chunk of the MachineConfig.
func Root(r buildspec.Request) *corev1.ConfigMap {
	cm := chunk(r, 0)
	cm.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfigPool", Name: r.Pool.Name, UID: r.Pool.UID,
	}}
	return cm
}

func chunk(r buildspec.Request, i int) *corev1.ConfigMap {
	return input(r, names.MachineConfigMap(r.RenderedConfig, i), api.KeyMachineConfig, r.MachineConfig.Chunks[i])
}

// dockerfiles are the ConfigMaps with the Dockerfile, owned by the root. run is what
// the first of them tells of, if anything.
func dockerfiles(r buildspec.Request, root *corev1.ConfigMap, run types.UID) []*corev1.ConfigMap {
	var inputs []*corev1.ConfigMap
	for i, text := range r.DockerfileChunks() {
		cm := input(r, names.DockerfileMap(r.RenderedConfig, i), api.KeyDockerfile, text)
		cm.OwnerReferences = ownedBy(root)
		if i == 0 && run != "" {
			cm.Annotations[api.AnnotationRun] = string(run)
		}
		inputs = append(inputs, cm)
	}
	return inputs
}

// runOf is the run that a build's first ConfigMap with its Dockerfile tells of; empty
// for any other.
func runOf(cm *corev1.ConfigMap) types.UID {
	if cm.Name != names.DockerfileMap(cm.Annotations[api.AnnotationRenderedConfig], 0) {
		return ""
	}
	return types.UID(cm.Annotations[api.AnnotationRun])
}

// dependents are the further ConfigMaps of a build but those with the Dockerfile,
// owned by its root.
func dependents(r buildspec.Request, root *corev1.ConfigMap) []*corev1.ConfigMap {
	var inputs []*corev1.ConfigMap
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

func ownedBy(root *corev1.ConfigMap) []metav1.OwnerReference {
	controller, block := true, true
	return []metav1.OwnerReference{{
		APIVersion: "v1", Kind: "ConfigMap", Name: root.Name, UID: root.UID,
		Controller: &controller, BlockOwnerDeletion: &block,
	}}
}

func isRoot(cm *corev1.ConfigMap) bool {
	return cm.Labels[api.LabelRole] == api.RoleInput &&
		cm.Name == names.MachineConfigMap(cm.Annotations[api.AnnotationRenderedConfig], 0)
}

// RunSelector selects the runs of a pool's builds, and those of pools with a long name
// that begins alike: a label holds it in part only.
func RunSelector(pool string) string {
	return labels.Set{api.LabelBuildPod: "", api.LabelRole: api.RoleRun, api.LabelTargetPool: names.LabelValue(pool)}.String()
}

// IsRun is true for the metadata of a run.
func IsRun(m metav1.ObjectMeta) bool { return m.Labels[api.LabelRole] == api.RoleRun }

// mine confirms that an object which was there already is this request's; object is
// kind/name. It fails with a *backend.ForeignObjectError.
func mine(r buildspec.Request, object string, have, want metav1.ObjectMeta) error {
	switch {
	case have.DeletionTimestamp != nil:
		return &backend.ForeignObjectError{Object: object, Why: "it is being deleted", Going: true}
	case have.Annotations[api.AnnotationInputsHash] != r.ID:
		return &backend.ForeignObjectError{Object: object, Why: "it was made of other inputs"}
	case have.Annotations[api.AnnotationPoolUID] != string(r.Pool.UID):
		return &backend.ForeignObjectError{Object: object, Why: "it was made for another pool"}
	case builderOf(have) != r.Builder:
		return &backend.ForeignObjectError{Object: object, Why: "it was made for " + builderOf(have)}
	case !ownedAlike(have, want):
		// The garbage collector is about to take it.
		return &backend.ForeignObjectError{Object: object, Why: "what owns it is gone", Going: true}
	}
	return nil
}

// MyRun is mine for a run, which is of one try besides.
func MyRun(r buildspec.Request, object string, have, want metav1.ObjectMeta) error {
	if got := have.Annotations[api.AnnotationAttempt]; got != strconv.Itoa(r.Attempt) {
		return &backend.ForeignObjectError{Object: object, Why: "it is try " + got}
	}
	return mine(r, object, have, want)
}

func ownedAlike(have, want metav1.ObjectMeta) bool {
	return slices.EqualFunc(have.OwnerReferences, want.OwnerReferences, func(a, b metav1.OwnerReference) bool { return a.UID == b.UID })
}
