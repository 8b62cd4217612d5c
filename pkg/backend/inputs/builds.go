package inputs

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// Builds joins the parts of builds, of which any may be missing.
type Builds struct {
	kind     string
	byConfig map[string]*backend.Observation
}

// Join begins with the roots of builds; kind is that of their runs.
func Join(kind string, roots []*corev1.ConfigMap) Builds {
	b := Builds{kind: kind, byConfig: map[string]*backend.Observation{}}
	for _, cm := range roots {
		b.Of(cm.ObjectMeta).Deleting = cm.DeletionTimestamp != nil
	}
	return b
}

// Of is the build that an object is a part of.
func (b Builds) Of(m metav1.ObjectMeta) *backend.Observation {
	config := m.Annotations[api.AnnotationRenderedConfig]
	o := b.byConfig[config]
	if o == nil {
		o = &backend.Observation{
			Pool:           buildspec.Pool{Name: m.Annotations[api.AnnotationPool], UID: types.UID(m.Annotations[api.AnnotationPoolUID])},
			RenderedConfig: config,
			Builder:        builderOf(m),
			ID:             m.Annotations[api.AnnotationInputsHash],
			RebuildToken:   m.Annotations[api.AnnotationRebuildToken],
			Object:         b.kind + "/" + names.Build(config),
		}
		b.byConfig[config] = o
	}
	if o.ID != m.Annotations[api.AnnotationInputsHash] || string(o.Pool.UID) != m.Annotations[api.AnnotationPoolUID] {
		o.ID = ""
	}
	return o
}

// Changed says whether two looks at a run, either of which may be nil, differ in what
// anybody waits for.
func Changed(was, is *backend.Observation) bool {
	if was == nil || is == nil {
		return was != is
	}
	before := *was
	before.Started = is.Started
	if !is.Phase.Active() {
		before.Deleting, before.RunDeleting, before.GoneBy = is.Deleting, is.RunDeleting, is.GoneBy
	}
	return !reflect.DeepEqual(&before, is)
}

// All are the builds by the names of their rendered configs.
func (b Builds) All() []*backend.Observation {
	all := make([]*backend.Observation, 0, len(b.byConfig))
	for _, o := range b.byConfig {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *backend.Observation) int {
		return strings.Compare(a.RenderedConfig, b.RenderedConfig)
	})
	return all
}
