package osbuild

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// platforms are the architectures that are built for in a run of their own each, and
// where runs go. Without such a list a run that makes an image for its node's
// architecture goes to nodes of one architecture, whatever nodes there are.
func (in Inputs) platforms(runs bool, builder string) ([]string, buildspec.Scheduling, *Obstacle) {
	scheduling := in.Settings.Scheduling
	if !runs && builder != api.BuilderOpenShift {
		return nil, scheduling, nil // the base's platforms are all made, by one pod
	}
	made := in.Config.Packages.Architectures()
	if list := in.Settings.Architectures; len(list) > 0 {
		both := slices.DeleteFunc(slices.Clone(list), func(a string) bool { return len(made) > 0 && !slices.Contains(made, a) })
		if len(both) == 0 {
			return nil, scheduling, &Obstacle{api.ReasonInvalidRenderedConfig, fmt.Sprintf(
				"MachineConfig %q cannot be built: its %s is for %s alone, which ConfigMap/%s, key %s, does not list: it lists %s; add %s to it, or use another kernel",
				in.TargetConfig, in.Config.Packages, strings.Join(made, ", "), api.ConfigMapBuildConfig, api.KeyArchitectures, strings.Join(list, ", "), strings.Join(made, ", "))}
		}
		return both, scheduling, nil
	}
	if _, chosen := scheduling.NodeSelector[corev1.LabelArchStable]; chosen {
		return nil, scheduling, nil
	}
	architecture := in.Architecture
	if len(made) > 0 && !slices.Contains(made, architecture) {
		architecture = made[0]
	}
	if architecture != "" {
		labels := map[string]string{corev1.LabelArchStable: architecture}
		maps.Copy(labels, scheduling.NodeSelector)
		scheduling.NodeSelector = labels
	}
	return nil, scheduling, nil
}
