package render

import (
	"fmt"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// poolKind is the kind of pools, as owner references name it.
var poolKind = mcfgv1.GroupVersion.WithKind("MachineConfigPool")

// Select returns the MachineConfigs that a pool is rendered from, in the order
// in which they are merged: those that spec.machineConfigSelector matches, but
// no rendered ones. Their metadata is all that it reads. Warnings name what
// matches and is passed over.
//
// Errors: a *Refusal when the selector is missing, empty or invalid, or when
// nothing is selected. An empty selector is refused, as OpenShift does, although
// elsewhere it matches everything: no pool means the configs of all roles.
func Select[T metav1.Object](pool *mcfgv1.MachineConfigPool, configs []T) (selected []T, warnings []string, err error) {
	selector, err := configSelector(pool)
	if err != nil {
		return nil, nil, err
	}
	var passed []string
	for _, mc := range configs {
		_, rendered := PoolOf(mc)
		switch {
		case rendered, !selector.Matches(labels.Set(mc.GetLabels())):
		case strings.HasPrefix(mc.GetName(), names.RenderedPrefix):
			passed = append(passed, mc.GetName())
		default:
			selected = append(selected, mc)
		}
	}
	slices.Sort(passed)
	for _, name := range passed {
		warnings = append(warnings, fmt.Sprintf("MachineConfig %q matches spec.machineConfigSelector and is passed over: names that begin with %q are those of rendered configs; rename it",
			name, names.RenderedPrefix))
	}
	if len(selected) == 0 {
		none := fmt.Sprintf("no MachineConfig matches spec.machineConfigSelector %q of the pool: label one so, or correct the selector", selector)
		return nil, nil, &Refusal{api.ReasonNoMachineConfigs, bounded(strings.Join(append([]string{none}, warnings...), "; "))}
	}
	slices.SortFunc(selected, func(a, b T) int { return strings.Compare(a.GetName(), b.GetName()) })
	return selected, warnings, nil
}

func configSelector(pool *mcfgv1.MachineConfigPool) (labels.Selector, error) {
	const example = `select by label, for example {matchLabels: {machineconfiguration.openshift.io/role: worker}}`
	if pool.Spec.MachineConfigSelector == nil {
		return nil, &Refusal{api.ReasonInvalidSelector, "spec.machineConfigSelector of the pool is not set and so matches nothing: " + example}
	}
	selector, err := metav1.LabelSelectorAsSelector(pool.Spec.MachineConfigSelector)
	if err != nil {
		// Which of several faults the cause names differs from time to time.
		return nil, &Refusal{api.ReasonInvalidSelector, "spec.machineConfigSelector of the pool is no valid label selector: correct its keys, operators and values"}
	}
	if selector.Empty() {
		return nil, &Refusal{api.ReasonInvalidSelector, "spec.machineConfigSelector of the pool is empty and would take the MachineConfigs of every role: " + example}
	}
	return selector, nil
}

// PoolOf returns the pool that a MachineConfig was rendered for: the one that
// controls it. false means that it is no rendered one.
func PoolOf(mc metav1.Object) (string, bool) {
	owner := metav1.GetControllerOfNoCopy(mc)
	if owner == nil || owner.Kind != poolKind.Kind {
		return "", false
	}
	version, err := schema.ParseGroupVersion(owner.APIVersion)
	return owner.Name, err == nil && version.Group == poolKind.Group
}
