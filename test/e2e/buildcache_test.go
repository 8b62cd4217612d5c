//go:build e2e

package e2e

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// cachedFile is a Dockerfile of two stages, with steps whose results differ each time
// that they run, and a last step of its own.
func cachedFile(unique, last string) string {
	random := "head -c 8 /dev/urandom | od -An -tx1 > "
	return "# " + unique + "\nFROM configs AS tools\nRUN " + random + "/tool\n" +
		"FROM configs AS final\nENV LEVEL=one\nRUN <<END\n" + random + "/etc/first\nEND\n" +
		"COPY --from=tools /tool /etc/tool\nRUN " + random + "/etc/second && echo $LEVEL >> /etc/second\n" +
		"RUN echo " + last + " > /etc/last\n"
}

// results of the containers of the build that was seen last.
func (s *scenario) results() map[string]buildspec.Result {
	s.t.Helper()
	pod, _ := s.builds.Last()
	return live.Results(pod)
}

// TestBuildCache: steps that are what they were are not run again, for the same pool
// and until a rebuild is asked for.
func TestBuildCache(t *testing.T) {
	s := newScenario(t)
	s.configure(map[string]string{api.KeyBuildCache: api.BuildCacheRegistry})
	unique := time.Now().String()
	s.customDockerfile(cachedFile(unique, "one"))
	const config = "rendered-worker-cache-1"
	s.addWorkers(live.FileConfig(config, "/etc/generation", "one"))
	s.must(cluster.OptIn(s.ctx, worker))
	first := s.built(config)
	was := s.files(first)
	for _, name := range []string{"etc/first", "etc/second", "etc/tool"} {
		if len(was[name].Content) < 8 {
			t.Fatalf("/%s is %q", name, was[name].Content)
		}
	}

	s.customDockerfile(cachedFile(unique, "two"))
	second := s.built(config)
	s.prove("only the last step ran", func(s *scenario) {
		is := s.files(second)
		for _, name := range []string{"etc/first", "etc/second", "etc/tool"} {
			if is[name].Content != was[name].Content {
				s.t.Errorf("/%s was %q and is %q", name, was[name].Content, is[name].Content)
			}
		}
		if is["etc/last"].Content != "two\n" {
			s.t.Errorf("/etc/last is %q", is["etc/last"].Content)
		}
	})
	s.prove("only its layer is another", func(s *scenario) {
		old, err := first.Manifest()
		s.must(err)
		manifest, err := second.Manifest()
		s.must(err)
		last := len(manifest.Layers) - 1
		if len(old.Layers) != last+1 || !reflect.DeepEqual(old.Layers[:last], manifest.Layers[:last]) {
			s.t.Errorf("layers were %v and are %v", old.Layers, manifest.Layers)
		}
		if pushed := s.results()[api.ContainerPush].BytesPushed; pushed > 1<<20 {
			s.t.Errorf("%d bytes were pushed", pushed)
		}
	})
	_, err := cluster.Kubectl(s.ctx, "annotate", "machineconfigpool/"+worker, api.AnnotationRebuild+"=again")
	s.must(err)
	rebuilt := s.files(s.built(config))
	s.prove("a rebuild runs all steps", func(s *scenario) {
		for _, name := range []string{"etc/first", "etc/second", "etc/tool"} {
			if rebuilt[name].Content == was[name].Content {
				s.t.Errorf("/%s is still %q", name, was[name].Content)
			}
		}
	})

	s.customDockerfile(cachedFile(unique, "three"))
	third := s.files(s.built(config))
	s.prove("what it made is used from then on", func(s *scenario) {
		if third["etc/second"].Content != rebuilt["etc/second"].Content || third["etc/last"].Content != "three\n" {
			s.t.Errorf("/etc/second was %q and is %q, /etc/last is %q", rebuilt["etc/second"].Content, third["etc/second"].Content, third["etc/last"].Content)
		}
	})
	s.prove("another pool runs all steps", func(s *scenario) {
		s.addPools(map[string]string{"infra": cachedFile(unique, "three")})
		var pullspec string
		s.eventually("the image of infra is built", func() error {
			pool, err := cluster.Pool(s.ctx, "infra")
			if err == nil {
				pullspec, err = live.Built(pool, configOf("infra"))
			}
			return err
		})
		image, err := cluster.OpenImage(pullspec)
		s.must(err)
		if is := s.files(image); is["etc/second"].Content == third["etc/second"].Content {
			s.t.Errorf("/etc/second is what it is in the other pool: %q", is["etc/second"].Content)
		}
	})
	s.prove("it goes when the pool opts out", func(s *scenario) {
		pool := s.pool()
		base, err := cluster.OpenImage(s.base)
		s.must(err)
		file, err := base.ConfigFile()
		s.must(err)
		tag := s.settings[api.KeyFinalImagePullspec] + ":" + names.BuildCacheTag(names.BuildCacheID(worker, string(pool.UID)), file.Architecture)
		if _, err := cluster.OpenImage(tag); err != nil {
			s.t.Fatalf("there is no cache: %v", err)
		}
		s.must(cluster.OptOut(s.ctx, worker))
		s.eventually("the build cache is deleted", func() error {
			_, err := cluster.OpenImage(tag)
			switch {
			case err == nil:
				return fmt.Errorf("%s is still there", tag)
			case strings.Contains(err.Error(), "MANIFEST_UNKNOWN"):
				return nil
			default:
				return err
			}
		})
	})
}

// TestBuildCacheBelowTheConfig: with the config last, an edit begins at the first step
// that is another one, for another config too.
func TestBuildCacheBelowTheConfig(t *testing.T) {
	s := newScenario(t)
	s.configure(map[string]string{api.KeyBuildCache: api.BuildCacheRegistry, api.KeyConfigLayerOrder: api.ConfigLayerLast})
	unique := time.Now().String()
	s.customDockerfile(cachedFile(unique, "one"))
	const before, after = "rendered-worker-below-1", "rendered-worker-below-2"
	s.addWorkers(live.FileConfig(before, "/etc/generation", "one"))
	s.must(cluster.OptIn(s.ctx, worker))
	was := s.files(s.built(before))

	s.customDockerfile(cachedFile(unique, "two"))
	s.must(cluster.SetMachineConfig(s.ctx, live.FileConfig(after, "/etc/generation", "two")))
	s.must(cluster.Target(s.ctx, worker, after))
	is := s.files(s.built(after))
	for _, name := range []string{"etc/first", "etc/second", "etc/tool"} {
		if is[name].Content != was[name].Content || len(is[name].Content) < 8 {
			t.Errorf("/%s was %q and is %q", name, was[name].Content, is[name].Content)
		}
	}
	if is["etc/last"].Content != "two\n" || is["etc/generation"].Content != "two" {
		t.Errorf("/etc/last is %q, /etc/generation %q", is["etc/last"].Content, is["etc/generation"].Content)
	}
}
