package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

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
	if token := w.pool("worker").Annotations[api.AnnotationRebuild]; token != "base-"+digest("2") {
		t.Errorf("the rebuild was asked for by %q", token)
	}
	looked()
	if w.exists("pod", "build-"+config) {
		t.Error("it is built upon for a third time")
	}
}
