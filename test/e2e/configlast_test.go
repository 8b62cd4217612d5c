//go:build e2e

package e2e

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestConfigLayerLast: steps run once, on the base alone; each config is laid on
// what they left.
func TestConfigLayerLast(t *testing.T) {
	s := newScenario(t)
	s.configure(map[string]string{api.KeyConfigLayerOrder: api.ConfigLayerLast})
	// The registry outlives the test, and with it what steps left in an earlier one.
	s.customDockerfile("# " + time.Now().String() + "\nFROM configs AS final\n" +
		"RUN test ! -e /etc/generation && useradd --system --uid 900 agent && head -c 8 /dev/urandom | od -An -tx1 > /etc/once\n")
	generation := func(name, content string) string {
		mc := live.FileConfig(name, "/etc/generation", content)
		mc.Spec.Config.Raw = []byte(strings.Replace(string(mc.Spec.Config.Raw), `"mode":420`, `"user":{"name":"agent"},"mode":416`, 1))
		s.must(cluster.SetMachineConfig(s.ctx, mc))
		return name
	}
	first := generation("rendered-worker-last-1", "one")
	s.must(cluster.AddPool(s.ctx, worker, first))
	s.must(cluster.OptIn(s.ctx, worker))
	before := s.built(first)
	files := s.files(before)
	owned := file(0o640, 900, "one")
	owned.Gid = 0
	compareFiles(t, files, map[string]live.File{"etc/generation": owned})
	once := files["etc/once"].Content

	second := generation("rendered-worker-last-2", "two")
	s.must(cluster.Target(s.ctx, worker, second))
	after := s.built(second)
	s.prove("the steps did not run again", func(s *scenario) {
		is, was := s.record(second).StepsImage, s.record(first).StepsImage
		if was == "" || is != was {
			s.t.Errorf("made of %q, and before of %q", is, was)
		}
	})
	s.prove("the new config lies on what they left", func(s *scenario) {
		owned.Content = "two"
		files := s.files(after)
		compareFiles(s.t, files, map[string]live.File{"etc/generation": owned})
		if got := files["etc/once"].Content; got != once || once == "" {
			s.t.Errorf("/etc/once was %q and is %q", once, got)
		}
	})
	s.prove("only the last layer differs", func(s *scenario) {
		old, err := before.Manifest()
		s.must(err)
		manifest, err := after.Manifest()
		s.must(err)
		last := len(manifest.Layers) - 1
		if len(old.Layers) != last+1 || old.Layers[last].Digest == manifest.Layers[last].Digest ||
			!reflect.DeepEqual(old.Layers[:last], manifest.Layers[:last]) {
			s.t.Errorf("layers were %v and are %v", old.Layers, manifest.Layers)
		}
	})
	s.prove("a rebuild runs them", func(s *scenario) {
		_, err := cluster.Kubectl(s.ctx, "annotate", "machineconfigpool/"+worker, api.AnnotationRebuild+"=again")
		s.must(err)
		if got := s.files(s.built(second))["etc/once"].Content; got == once {
			s.t.Errorf("/etc/once is still %q", got)
		}
	})
}
