//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// noRegistry is a name that nobody resolves (RFC 6761).
const noRegistry = "registry.invalid"

// atNoRegistry is an image of the test's registry as if it lay elsewhere.
func atNoRegistry(pullspec string) string {
	return noRegistry + strings.TrimPrefix(pullspec, cluster.Registry)
}

// TestDisconnected: the base image lies where nobody gets to, a mirror has it, and
// only the users' own bundle knows the mirror's authority.
func TestDisconnected(t *testing.T) {
	s := newScenario(t)
	s.must(cluster.TrustByUsers(s.ctx))
	base := atNoRegistry(cluster.PlainImage)
	s.baseImage(base)
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapRegistries, map[string]string{api.KeyRegistriesConf: fmt.Sprintf(
		"[[registry]]\nlocation = %q\nblocked = true\n[[registry.mirror]]\nlocation = %q\n", noRegistry, cluster.Registry)}))
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapYumRepos, map[string]string{"internal.repo": "[internal]\n"}))

	s.prove("a config alone is built on the mirror's image", func(s *scenario) {
		config := live.FileConfig("rendered-worker-disconnected-1", "/etc/generation", "1")
		s.addWorkers(config)
		s.must(cluster.OptIn(s.ctx, worker))
		s.built(config.Name)
	})
	s.prove("steps run on it, and see what they are given", func(s *scenario) {
		s.customDockerfile("FROM " + base + " AS tools\nRUN echo tool > /tool\n" +
			"FROM configs AS final\nCOPY --from=tools /tool /etc/tool\n" +
			"RUN grep -q BEGIN /run/user-ca-bundle/ca-bundle.crt && grep internal /etc/yum.repos.d/internal.repo > /etc/seen\n")
		config := live.FileConfig("rendered-worker-disconnected-2", "/etc/generation", "2")
		s.must(cluster.SetMachineConfig(s.ctx, config))
		s.must(cluster.Target(s.ctx, worker, config.Name))
		image := s.built(config.Name)
		manifest, err := image.Manifest()
		s.must(err)
		if got := manifest.Annotations[registry.AnnotationBaseName]; got != base {
			s.t.Errorf("the image names its base %q, want %q", got, base)
		}
		mirror, err := cluster.OpenImage(cluster.PlainImage)
		s.must(err)
		files, err := image.FilesAbove(mirror)
		s.must(err)
		if got := files["etc/seen"].Content; got != "[internal]\n" {
			s.t.Errorf("a step saw %q", got)
		}
		for path := range files {
			if strings.HasPrefix(path, "run/user-ca-bundle/") || strings.HasPrefix(path, "etc/yum.repos.d/") {
				s.t.Errorf("%s is in a layer", path)
			}
		}
	})
}

func TestBundleWithoutCertificateIsNamed(t *testing.T) {
	s := newScenario(t)
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapUserCA, map[string]string{api.UserCAKey: "later"}))
	s.addWorkers(live.FileConfig("rendered-worker-bundle", "/etc/generation", "1"))
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("ConfigMap/"+api.ConfigMapUserCA, api.UserCAKey, "holds no certificate")
}
