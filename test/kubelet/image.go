package kubelet

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Labels of the images that are pushed, besides those that the pod asks for.
const (
	// LabelMachineConfig and LabelDockerfile are the texts that the pod had
	// mounted, so that tests need not believe the other labels. The latter is, of
	// a Build, what the last stage of its Dockerfile does.
	LabelMachineConfig = "test.machineconfig"
	LabelDockerfile    = "test.dockerfile"
	// LabelRun is the UID of the pod, so that every run makes another image.
	LabelRun = "test.run"
)

// failing is the step of a Dockerfile that makes every run of it fail.
const failing = "RUN false"

// errNoFinalImage is of a pod that is no build's.
var errNoFinalImage = errors.New("no container of the pod has --final-image")

// mount reads the ConfigMaps that a pod mounts. A pod whose ConfigMap does not
// exist stays pending until it does. It returns what next does.
func (a *actor) mount(ctx context.Context) (Outcome, bool) {
	a.mounted = map[string][]string{}
	for _, name := range mounts(a.pod) {
		cm, err := a.Client.CoreV1().ConfigMaps(a.Namespace).Get(ctx, name, metav1.GetOptions{})
		for err != nil {
			if how, ok := a.next(ctx, retryAfter); !ok || how != "" {
				return how, ok
			}
			cm, err = a.Client.CoreV1().ConfigMaps(a.Namespace).Get(ctx, name, metav1.GetOptions{})
		}
		for key, text := range cm.Data {
			a.mounted[key] = append(a.mounted[key], text)
		}
	}
	return "", true
}

// machineConfig is the MachineConfig that the pod had mounted, as JSON.
func (a *actor) machineConfig() (string, error) {
	packed := base64.NewDecoder(base64.StdEncoding, strings.NewReader(strings.Join(a.mounted[api.KeyMachineConfig], "")))
	reader, err := gzip.NewReader(packed)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(reader)
	return string(text), err
}

func (a *actor) dockerfile() string { return strings.Join(a.mounted[api.KeyDockerfile], "") }

func (a *actor) dockerfileFails() bool {
	return strings.Contains(a.dockerfile(), failing) || ofBuild(a.pod) && strings.Contains(buildDockerfile(a.pod), failing)
}

// mounts names the ConfigMaps that a pod cannot do without.
func mounts(pod *corev1.Pod) []string {
	var out []string
	for _, v := range pod.Spec.Volumes {
		if v.ConfigMap != nil && (v.ConfigMap.Optional == nil || !*v.ConfigMap.Optional) {
			out = append(out, v.ConfigMap.Name)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				out = append(out, s.ConfigMap.Name)
			}
		}
	}
	return out
}

// push makes the image that the pod's arguments ask for and tells its digest.
func (a *actor) push(ctx context.Context) (buildspec.Result, error) {
	target, labels := "", map[string]string{LabelRun: string(a.pod.UID)}
	if !a.Plain {
		machineConfig, err := a.machineConfig()
		if err != nil {
			return buildspec.Result{}, err
		}
		labels[LabelMachineConfig], labels[LabelDockerfile] = machineConfig, a.dockerfile()
	}
	var share share
	for _, c := range slices.Concat(a.pod.Spec.InitContainers, a.pod.Spec.Containers) {
		for _, arg := range c.Args {
			share.take(arg)
			if image, ok := strings.CutPrefix(arg, "--final-image="); ok {
				target = image
			}
			if label, ok := strings.CutPrefix(arg, "--label="); ok {
				key, value, _ := strings.Cut(label, "=")
				labels[key] = value
			}
		}
	}
	if target == "" {
		return buildspec.Result{}, errNoFinalImage
	}
	image, err := mutate.Config(empty.Image, v1.Config{Labels: labels})
	if err != nil {
		return buildspec.Result{}, err
	}
	if share.run != "" {
		return a.join(ctx, target, image, share)
	}
	digest, err := a.Registry.Push(ctx, target, image)
	return buildspec.Result{Succeeded: true, Digest: digest}, err
}
