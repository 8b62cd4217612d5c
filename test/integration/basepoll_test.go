package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// baseWorld has a pool whose base image's tag names what a test says.
type baseWorld struct {
	*world
	tag   atomic.Pointer[string]
	looks atomic.Int32
}

// newBaseWorld polls each second.
func newBaseWorld(t *testing.T, settings map[string]string) *baseWorld {
	w := &baseWorld{world: newWorld(t)}
	w.resolve = func(context.Context, string, registry.Options) (string, error) {
		w.looks.Add(1)
		return *w.tag.Load(), nil
	}
	data := map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyBaseImagePollInterval: "1s"}
	maps.Copy(data, settings)
	w.setting(api.ConfigMapBuildConfig, data)
	return w
}

// names moves the tag.
func (w *baseWorld) names(digest string) { w.tag.Store(&digest) }

func (w *baseWorld) looked() {
	w.t.Helper()
	before := w.looks.Load()
	w.eventually("the base is looked at twice more", func() error {
		if n := w.looks.Load(); n < before+2 {
			return fmt.Errorf("%d times", n-before)
		}
		return nil
	})
}

// builtOn ends the build of a config, which found base.
func (w *baseWorld) builtOn(config, base string) string {
	w.t.Helper()
	w.podOf(config)
	image := w.push(config)
	w.finish("build-"+config, buildspec.Result{Succeeded: true, Digest: image, BaseDigest: base})
	w.annotated("worker", config, image)
	w.goneSoon("pod", "build-"+config)
	return image
}

// asked is for a rebuild that was asked for and does not run.
func (w *baseWorld) asked(config, digest string) {
	w.t.Helper()
	if token := w.pool("worker").Annotations[api.AnnotationRebuild]; !strings.HasPrefix(token, "base-"+digest+"-") || w.exists("pod", "build-"+config) {
		w.t.Errorf("the rebuild was asked for by %q, want %s and no build", token, digest)
	}
}

// baseDigest is one of which all digits are c.
func baseDigest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// TestMovedBaseIsRebuilt: a base whose tag moves is built upon once more, and
// one that stays, or a registry that is silent, is no reason for a build.
func TestMovedBaseIsRebuilt(t *testing.T) {
	const config = "rendered-worker-a1"
	var asked atomic.Pointer[string]
	w := newBaseWorld(t, nil)
	w.names(baseDigest("1"))
	w.resolve = func(_ context.Context, pullspec string, o registry.Options) (string, error) {
		asked.Store(&pullspec)
		w.looks.Add(1)
		if sources, err := o.Mirrors.Sources(pullspec); err != nil || len(sources) != 2 || sources[0].Pullspec != "mirror.example.com/os/base:1" {
			t.Errorf("looked for at %v, %v", sources, err)
		}
		if *w.tag.Load() == "" {
			return "", errors.New("silent")
		}
		return *w.tag.Load(), nil
	}
	w.setting(api.ConfigMapRegistries, map[string]string{
		api.KeyRegistriesConf: "[[registry]]\nlocation = 'registry.example.com'\n[[registry.mirror]]\nlocation = 'mirror.example.com'\n",
	})
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	w.builtOn(config, baseDigest("1"))
	w.looked()
	w.names("")
	w.looked()
	if *asked.Load() != "registry.example.com/os/base:1" {
		t.Errorf("asked for %s", *asked.Load())
	}
	if token, asks := w.pool("worker").Annotations[api.AnnotationRebuild]; asks || w.exists("pod", "build-"+config) {
		t.Errorf("a base that stays is built upon again: %q", token)
	}
	w.names(baseDigest("2"))
	w.builtOn(config, baseDigest("2"))
	if token := w.pool("worker").Annotations[api.AnnotationRebuild]; !strings.HasPrefix(token, "base-"+baseDigest("2")+"-") {
		t.Errorf("the rebuild was asked for by %q", token)
	}
	w.looked()
	if w.exists("pod", "build-"+config) {
		t.Error("it is built upon for a third time")
	}
}

// TestBaseMovesAgain: neither a build of another config nor an earlier move to the
// same digest is taken for an answer.
func TestBaseMovesAgain(t *testing.T) {
	const x, y, z = "rendered-worker-a1", "rendered-worker-b2", "rendered-worker-c3"
	w := newBaseWorld(t, nil)
	w.names(baseDigest("a"))
	w.addPool("worker", x)
	w.addConfig(y, "y")
	w.addConfig(z, "z")
	w.patchPool("worker", optIn)
	w.Start()
	w.builtOn(x, baseDigest("a"))
	target := func(config string) {
		t.Helper()
		w.patchPool("worker", `{"spec":{"configuration":{"name":"`+config+`"}}}`)
	}
	target(y)
	w.builtOn(y, baseDigest("a"))
	w.names(baseDigest("b"))
	w.builtOn(y, baseDigest("b"))
	target(x) // its image on "a" is there, and no build of it has found "b"
	w.builtOn(x, baseDigest("b"))
	target(z)
	w.shows("worker", mcfgv1.MachineConfigPoolBuildSuccess, corev1.ConditionFalse)
	w.podOf(z)
	w.names(baseDigest("c")) // by the time of the build, which finds it by itself
	w.builtOn(z, baseDigest("c"))
	w.names(baseDigest("b"))
	w.builtOn(z, baseDigest("b"))
}

// TestFailedRebuildIsNotTheLast: what a tag moves to after a base that nothing can
// be built on is built upon, and one that the build does not find is asked for once.
func TestFailedRebuildIsNotTheLast(t *testing.T) {
	const config = "rendered-worker-a1"
	w := newBaseWorld(t, map[string]string{api.KeyMaxBuildRetries: "0"})
	w.names(baseDigest("a"))
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	w.builtOn(config, baseDigest("a"))
	w.names(baseDigest("b"))
	failing := w.podOf(config)
	w.finish("build-"+config, buildspec.Result{Reason: api.ReasonBuildFailed, Message: "it broke", BaseDigest: baseDigest("b")})
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonBuildFailed)
	w.looked()
	if token := w.pool("worker").Annotations[api.AnnotationRebuild]; !strings.HasPrefix(token, "base-"+baseDigest("b")+"-") {
		t.Errorf("the rebuild was asked for by %q", token)
	}
	w.names(baseDigest("c"))
	w.eventually("another build", func() error {
		if p := w.podOf(config); p.UID == failing.UID {
			return errors.New("the one that failed is there")
		}
		return nil
	})
	w.builtOn(config, baseDigest("a")) // where that lags
	w.looked()
	w.asked(config, baseDigest("c"))
	w.names(baseDigest("d"))
	w.builtOn(config, baseDigest("d"))
	w.looked()
	w.asked(config, baseDigest("d"))
}

// TestReusedImageOnAnOlderBase: an image that is found in the registry is known to be on
// what the tag named when it was built, and is built again.
func TestReusedImageOnAnOlderBase(t *testing.T) {
	const config = "rendered-worker-a1"
	w := newBaseWorld(t, nil)
	w.members = func(context.Context, string, registry.Options) ([]string, error) {
		return []string{baseDigest("c")}, nil
	}
	w.names(baseDigest("a"))
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	pod := w.podOf(config)
	image := w.pushImage(config, pod.Annotations[api.AnnotationInputsHash], map[string]string{
		registry.AnnotationBaseName: "registry.example.com/os/base:1", registry.AnnotationBaseDigest: baseDigest("a"),
	})
	w.finish(pod.Name, buildspec.Result{Succeeded: true, Digest: image, BaseDigest: baseDigest("a")})
	w.annotated("worker", config, image)
	w.patchPool("worker", optOut)
	w.eventually("nothing is left", w.nothingLeft)
	w.patchPool("worker", optIn)
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonImageReused)
	w.looked()
	if token, asks := w.pool("worker").Annotations[api.AnnotationRebuild]; asks || w.exists("pod", pod.Name) {
		t.Errorf("a base that stays is built upon again: %q", token)
	}
	w.names(baseDigest("b"))
	w.builtOn(config, baseDigest("b"))
}
