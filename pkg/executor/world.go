package executor

import (
	"maps"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// World is what a decision needs to know beside the Build itself.
type World struct {
	// Pod is the one of the name that the Build's pod has; nil when there is none.
	Pod *corev1.Pod
	// Secrets and ConfigMaps are those of Needs that exist, by name.
	Secrets    map[string]*corev1.Secret
	ConfigMaps map[string]*corev1.ConfigMap
}

// References are names of objects in a Build's namespace.
type References struct{ Secrets, ConfigMaps []string }

// Needs are the objects that the next decision about a Build depends on, of which
// no watch tells.
func Needs(b *buildv1.Build, pod *corev1.Pod) References {
	switch {
	case pod == nil && Fresh(b) && len(validate(b)) > 0:
		return References{} // it ends by what is wrong with it
	case pod == nil && Fresh(b):
		inputs, env := inputs(b), envReferences(b)
		return References{
			Secrets:    distinct(inputs.Secrets, env.Secrets, pushSecret(b)),
			ConfigMaps: distinct(inputs.ConfigMaps, env.ConfigMaps, []string{api.ConfigMapRegistries}),
		}
	case pod != nil && waits(pod) && !rests(b):
		return References{Secrets: pushSecret(b)}
	default:
		return References{}
	}
}

// Fresh says whether a decision about a Build is worth a look at it as it is now. One
// that was cancelled meanwhile would get a pod again, and one that has just got its pod
// would be written a second time.
func Fresh(b *buildv1.Build) bool { return isNew(b) && !rests(b) }

// rests says whether a Build, whatever its pod does, needs nothing to go on.
func rests(b *buildv1.Build) bool {
	return b.DeletionTimestamp != nil || ended(b) || cancelRequested(b)
}

// inputs are what the pod mounts, without what is optional and without the push
// Secret, whose absence has a reason of its own.
func inputs(b *buildv1.Build) References {
	var r References
	secret := func(ref *corev1.LocalObjectReference) {
		if ref != nil {
			r.Secrets = append(r.Secrets, ref.Name)
		}
	}
	secret(b.Spec.Source.SourceSecret)
	for i := range b.Spec.Source.Images {
		secret(b.Spec.Source.Images[i].PullSecret)
	}
	for i := range b.Spec.Source.Secrets {
		secret(&b.Spec.Source.Secrets[i].Secret)
	}
	for _, m := range b.Spec.Source.ConfigMaps {
		r.ConfigMaps = append(r.ConfigMaps, m.ConfigMap.Name)
	}
	s := strategyOf(b)
	secret(s.pullSecret)
	for _, v := range s.volumes {
		if from := v.Source.Secret; from != nil && !isTrue(from.Optional) {
			r.Secrets = append(r.Secrets, from.SecretName)
		}
		if from := v.Source.ConfigMap; from != nil && !isTrue(from.Optional) {
			r.ConfigMaps = append(r.ConfigMaps, from.Name)
		}
	}
	return r
}

func envReferences(b *buildv1.Build) References {
	var r References
	for _, e := range strategyOf(b).env {
		if e.ValueFrom == nil {
			continue
		}
		if ref := e.ValueFrom.SecretKeyRef; ref != nil {
			r.Secrets = append(r.Secrets, ref.Name)
		}
		if ref := e.ValueFrom.ConfigMapKeyRef; ref != nil {
			r.ConfigMaps = append(r.ConfigMaps, ref.Name)
		}
	}
	return r
}

func pushSecret(b *buildv1.Build) []string {
	if b.Spec.Output.To == nil || b.Spec.Output.PushSecret == nil {
		return nil
	}
	return []string{b.Spec.Output.PushSecret.Name}
}

// strategy is what both strategies have.
type strategy struct {
	pullSecret *corev1.LocalObjectReference
	env        []corev1.EnvVar
	volumes    []buildv1.BuildVolume
}

func strategyOf(b *buildv1.Build) strategy {
	if s := b.Spec.Strategy.DockerStrategy; s != nil {
		return strategy{s.PullSecret, s.Env, s.Volumes}
	}
	if s := b.Spec.Strategy.SourceStrategy; s != nil {
		return strategy{s.PullSecret, s.Env, s.Volumes}
	}
	return strategy{}
}

// distinct returns each name once, sorted, without empty ones.
func distinct(lists ...[]string) []string {
	set := map[string]bool{}
	for _, name := range slices.Concat(lists...) {
		if name != "" {
			set[name] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

func isTrue(b *bool) bool { return b != nil && *b }
