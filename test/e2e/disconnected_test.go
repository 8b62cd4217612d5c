//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

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

	s.prove("a config alone is built on the mirror's image", func(s *scenario) {
		config := live.FileConfig("rendered-worker-disconnected-1", "/etc/generation", "1")
		s.addWorkers(config)
		s.must(cluster.OptIn(s.ctx, worker))
		s.built(config.Name)
	})
	s.prove("steps run on it, and see what they are given", func(s *scenario) {
		given := s.giveSteps()
		defer given.witness.Stop()
		s.customDockerfile("FROM " + base + " AS tools\nRUN echo tool > /tool\n" +
			"FROM configs AS final\nCOPY --from=tools /tool /etc/tool\n" +
			"RUN grep -q BEGIN /run/user-ca-bundle/ca-bundle.crt && sha256sum " + strings.Join(slices.Sorted(maps.Keys(given.files)), " ") + " > /etc/seen\n" +
			"RUN for dir in " + strings.Join(stepDirs, " ") + "; do ! touch $dir/more || exit 7; done\n")
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
		var seen strings.Builder
		for _, path := range slices.Sorted(maps.Keys(given.files)) {
			fmt.Fprintf(&seen, "%x  %s\n", sha256.Sum256([]byte(given.files[path])), path)
		}
		compareFiles(s.t, files, map[string]live.File{"etc/tool": file(0o644, 0, "tool\n"), "etc/seen": file(0o644, 0, seen.String())})
		for path := range files {
			if slices.ContainsFunc(stepDirs, func(dir string) bool { return strings.HasPrefix("/"+path, dir+"/") }) {
				s.t.Errorf("%s is in a layer", path)
			}
		}
		given.inNoBlob(s.t)
	})
}

// stepDirs are where steps see what they are given.
var stepDirs = []string{"/etc/pki/entitlement", "/etc/pki/rpm-gpg", "/etc/yum.repos.d", "/run/user-ca-bundle"}

// stepFiles are what steps are given besides the authorities, by where they see it.
type stepFiles struct {
	files   map[string]string
	witness *live.Witness // who knows what is in them
}

// giveSteps makes the objects that steps are given files of.
func (s *scenario) giveSteps() stepFiles {
	s.t.Helper()
	certificate, key, signer := live.NewCanary(), live.NewCanary(), live.NewCanary()
	given := stepFiles{files: map[string]string{}, witness: cluster.Witness(s.ctx, certificate, key, signer)}
	for _, object := range []struct {
		name, dir string
		data      map[string]string
	}{
		{api.SecretEntitlement, "/etc/pki/entitlement/", map[string]string{"1.pem": certificate.Password, "1-key.pem": key.Password}},
		{api.SecretRPMKeys, "/etc/pki/rpm-gpg/", map[string]string{"RPM-GPG-KEY": signer.Password}},
		{api.ConfigMapYumRepos, "/etc/yum.repos.d/", map[string]string{"internal.repo": "[internal]\n"}},
	} {
		for key, content := range object.data {
			given.files[object.dir+key] = content
		}
		if object.name == api.ConfigMapYumRepos {
			s.must(cluster.SetConfigMap(s.ctx, object.name, object.data))
		} else {
			s.must(cluster.SetSecret(s.ctx, object.name, corev1.SecretTypeOpaque, object.data))
		}
	}
	return given
}

// inNoBlob searches whatever was pushed for what is in the Secrets.
func (g stepFiles) inNoBlob(t *testing.T) {
	t.Helper()
	if err := g.witness.Blobs(); err != nil {
		t.Fatal(err)
	}
	if looked := g.witness.Looked(); looked["blobs"] == 0 || looked["log of "+api.ContainerBuild] == 0 {
		t.Errorf("looked at %v", looked)
	}
	if found := g.witness.Found(); len(found) > 0 {
		t.Errorf("found in %q", found)
	}
}

func TestBundleWithoutCertificateIsNamed(t *testing.T) {
	s := newScenario(t)
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapUserCA, map[string]string{api.UserCAKey: "later"}))
	s.addWorkers(live.FileConfig("rendered-worker-bundle", "/etc/generation", "1"))
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("ConfigMap/"+api.ConfigMapUserCA, api.UserCAKey, "holds no certificate")
}
