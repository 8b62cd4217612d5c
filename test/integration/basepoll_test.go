package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// TestMovedBaseIsRebuilt: a base whose tag moves is built upon once more, and
// one that stays, or a registry that is silent, is no reason for a build.
func TestMovedBaseIsRebuilt(t *testing.T) {
	const config = "rendered-worker-a1"
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	var now, asked atomic.Pointer[string]
	names := func(digest string) { now.Store(&digest) }
	names(digest("1"))
	var looks atomic.Int32
	w := newWorld(t)
	w.resolve = func(_ context.Context, pullspec string, o registry.Options) (string, error) {
		asked.Store(&pullspec)
		looks.Add(1)
		if sources, err := o.Mirrors.Sources(pullspec); err != nil || len(sources) != 2 || sources[0].Pullspec != "mirror.example.com/os/base:1" {
			t.Errorf("looked for at %v, %v", sources, err)
		}
		if *now.Load() == "" {
			return "", errors.New("silent")
		}
		return *now.Load(), nil
	}
	looked := func() {
		t.Helper()
		before := looks.Load()
		w.eventually("the base is looked at twice more", func() error {
			if n := looks.Load(); n < before+2 {
				return fmt.Errorf("%d times", n-before)
			}
			return nil
		})
	}
	built := func(base string) string {
		t.Helper()
		w.podOf(config)
		image := w.push(config)
		w.finish("build-"+config, buildspec.Result{Succeeded: true, Digest: image, BaseDigest: base})
		w.annotated("worker", config, image)
		w.goneSoon("pod", "build-"+config)
		return image
	}
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyBaseImagePollInterval: "1s"})
	w.setting(api.ConfigMapRegistries, map[string]string{
		api.KeyRegistriesConf: "[[registry]]\nlocation = 'registry.example.com'\n[[registry.mirror]]\nlocation = 'mirror.example.com'\n",
	})
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	built(digest("1"))
	looked()
	names("")
	looked()
	if *asked.Load() != "registry.example.com/os/base:1" {
		t.Errorf("asked for %s", *asked.Load())
	}
	if token, asks := w.pool("worker").Annotations[api.AnnotationRebuild]; asks || w.exists("pod", "build-"+config) {
		t.Errorf("a base that stays is built upon again: %q", token)
	}
	names(digest("2"))
	built(digest("2"))
	if token := w.pool("worker").Annotations[api.AnnotationRebuild]; !strings.HasPrefix(token, "base-"+digest("2")+"-") {
		t.Errorf("the rebuild was asked for by %q", token)
	}
	looked()
	if w.exists("pod", "build-"+config) {
		t.Error("it is built upon for a third time")
	}
}

// TestBaseMovesAgain: neither a build of another config nor an earlier move to the
// same digest is taken for an answer.
func TestBaseMovesAgain(t *testing.T) {
	const x, y, z = "rendered-worker-a1", "rendered-worker-b2", "rendered-worker-c3"
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	var now atomic.Pointer[string]
	names := func(digest string) { now.Store(&digest) }
	names(digest("a"))
	w := newWorld(t)
	w.resolve = func(context.Context, string, registry.Options) (string, error) { return *now.Load(), nil }
	built := func(config, base string) {
		t.Helper()
		w.podOf(config)
		image := w.push(config)
		w.finish("build-"+config, buildspec.Result{Succeeded: true, Digest: image, BaseDigest: base})
		w.annotated("worker", config, image)
		w.goneSoon("pod", "build-"+config)
	}
	target := func(config string) {
		t.Helper()
		w.patchPool("worker", `{"spec":{"configuration":{"name":"`+config+`"}}}`)
	}
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyBaseImagePollInterval: "1s"})
	w.addPool("worker", x)
	w.addConfig(y, "y")
	w.addConfig(z, "z")
	w.patchPool("worker", optIn)
	w.Start()
	built(x, digest("a"))
	target(y)
	built(y, digest("a"))
	names(digest("b"))
	built(y, digest("b"))
	target(x) // its image on "a" is there, and no build of it has found "b"
	built(x, digest("b"))
	target(z)
	w.shows("worker", mcfgv1.MachineConfigPoolBuildSuccess, corev1.ConditionFalse)
	w.podOf(z)
	names(digest("c")) // by the time of the build, which finds it by itself
	built(z, digest("c"))
	names(digest("b"))
	built(z, digest("b"))
}

// TestFailedRebuildIsNotTheLast: what a tag moves to after a base that nothing can
// be built on is built upon, and one that the build does not find is asked for once.
func TestFailedRebuildIsNotTheLast(t *testing.T) {
	const config = "rendered-worker-a1"
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	var now atomic.Pointer[string]
	names := func(digest string) { now.Store(&digest) }
	names(digest("a"))
	var looks atomic.Int32
	w := newWorld(t)
	w.resolve = func(context.Context, string, registry.Options) (string, error) {
		looks.Add(1)
		return *now.Load(), nil
	}
	looked := func() {
		t.Helper()
		before := looks.Load()
		w.eventually("the base is looked at twice more", func() error {
			if n := looks.Load(); n < before+2 {
				return fmt.Errorf("%d times", n-before)
			}
			return nil
		})
	}
	asked := func(digest string) {
		t.Helper()
		if token := w.pool("worker").Annotations[api.AnnotationRebuild]; !strings.HasPrefix(token, "base-"+digest+"-") || w.exists("pod", "build-"+config) {
			t.Errorf("the rebuild was asked for by %q, want %s and no build", token, digest)
		}
	}
	built := func(base string) {
		t.Helper()
		w.podOf(config)
		image := w.push(config)
		w.finish("build-"+config, buildspec.Result{Succeeded: true, Digest: image, BaseDigest: base})
		w.annotated("worker", config, image)
		w.goneSoon("pod", "build-"+config)
	}
	w.setting(api.ConfigMapBuildConfig, map[string]string{
		api.KeyFinalImagePullspec: w.Registry, api.KeyBaseImagePollInterval: "1s", api.KeyMaxBuildRetries: "0",
	})
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	built(digest("a"))
	names(digest("b"))
	failing := w.podOf(config)
	w.finish("build-"+config, buildspec.Result{Reason: api.ReasonBuildFailed, Message: "it broke", BaseDigest: digest("b")})
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonBuildFailed)
	looked()
	if token := w.pool("worker").Annotations[api.AnnotationRebuild]; !strings.HasPrefix(token, "base-"+digest("b")+"-") {
		t.Errorf("the rebuild was asked for by %q", token)
	}
	names(digest("c"))
	w.eventually("another build", func() error {
		if p := w.podOf(config); p.UID == failing.UID {
			return errors.New("the one that failed is there")
		}
		return nil
	})
	built(digest("a")) // where that lags
	looked()
	asked(digest("c"))
	names(digest("d"))
	built(digest("d"))
	looked()
	asked(digest("d"))
}
