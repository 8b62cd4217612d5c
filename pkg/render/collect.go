package render

import (
	"cmp"
	"slices"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// keepNewest is how many of a pool's newest rendered configs are kept whether
// anything names them or not: one that was just created is named a moment later,
// and the others show what changed last. It is the default of imagesToKeep.
const keepNewest = 3

// Names are the rendered configs that something names.
type Names map[string]bool

// Add takes up rendered configs by name: those of build records, and what Render
// returned last for each pool. Empty names are none.
func (n Names) Add(rendered ...string) {
	for _, name := range rendered {
		if name != "" {
			n[name] = true
		}
	}
}

// AddPool takes up what a pool is to have, has, and has an image of.
func (n Names) AddPool(pool *mcfgv1.MachineConfigPool) {
	n.Add(pool.Spec.Configuration.Name, pool.Status.Configuration.Name, pool.Annotations[api.AnnotationImageConfig])
}

// AddNode takes up what a node has and is to have. Every node counts for every
// pool: one that changed pools still has a config of its first one.
func (n Names) AddNode(node metav1.Object) {
	n.Add(node.GetAnnotations()[api.AnnotationCurrentConfig], node.GetAnnotations()[api.AnnotationDesiredConfig])
}

// Collectable returns the names of a pool's rendered configs that may be
// deleted, the oldest first: nothing names them, and keepNewest others of the
// pool are newer. It passes over what the pool does not control and what is
// being deleted. Their metadata is all that it reads.
//
// named must be complete: all pools, all nodes, all records.
func Collectable[T metav1.Object](pool *mcfgv1.MachineConfigPool, configs []T, named Names) []string {
	var owned []T
	for _, mc := range configs {
		if metav1.IsControlledBy(mc, pool) && mc.GetDeletionTimestamp() == nil {
			owned = append(owned, mc)
		}
	}
	slices.SortFunc(owned, func(a, b T) int {
		return cmp.Or(a.GetCreationTimestamp().Compare(b.GetCreationTimestamp().Time), cmp.Compare(a.GetName(), b.GetName()))
	})
	var unnamed []string
	for i, mc := range owned {
		if i < len(owned)-keepNewest && !named[mc.GetName()] {
			unnamed = append(unnamed, mc.GetName())
		}
	}
	return unnamed
}
