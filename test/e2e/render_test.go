//go:build e2e

package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// rendered waits until the pool targets a rendered config other than the one
// before, and returns its name.
func (s *scenario) rendered(before string) string {
	s.t.Helper()
	var name string
	s.eventually("the pool targets a rendered config", func() error {
		name = s.pool().Spec.Configuration.Name
		if name == "" || name == before {
			return fmt.Errorf("it targets %q", name)
		}
		return nil
	})
	return name
}

// TestApplyLeadsToAnImage: kubectl apply of the demo's objects and a label, and
// later of one more MachineConfig, is all that an administrator does.
func TestApplyLeadsToAnImage(t *testing.T) {
	s := newScenario(t)
	s.baseImage(cluster.BaseImage)
	apply := func(file string) {
		t.Helper()
		_, err := cluster.Kubectl(s.ctx, "apply", "--filename="+filepath.Join(cluster.Root, "test", "e2e", "demo", file))
		s.must(err)
	}
	apply("worker.yaml")
	s.must(cluster.OptIn(s.ctx, worker))
	first := s.rendered("")
	image := s.built(first)
	compareFiles(t, s.files(image), map[string]live.File{
		"etc/motd":                    file(0o644, 0, "This image was built for the pool worker.\n"),
		"var/usrlocal/bin/node-agent": file(0o755, 0, "#!/bin/sh\nexec sleep infinity\n"),
	})
	apply("motd.yaml")
	second := s.rendered(first)
	compareFiles(t, s.files(s.built(second)), map[string]live.File{
		"etc/motd":                    file(0o644, 0, "This line came with one kubectl apply.\n"),
		"var/usrlocal/bin/node-agent": file(0o755, 0, "#!/bin/sh\nexec sleep infinity\n"),
	})

	// What comes back to an earlier content has its image already.
	_, err := cluster.Kubectl(s.ctx, "delete", "machineconfig/50-worker-motd")
	s.must(err)
	if back := s.rendered(second); back != first {
		t.Errorf("without the second MachineConfig the pool targets %s, not %s", back, first)
	}
	if again := s.built(first); again.Pullspec != image.Pullspec {
		t.Errorf("the image of %s was %s and is %s", first, image.Pullspec, again.Pullspec)
	}
	apply("motd.yaml")
	if third := s.rendered(first); third != second {
		t.Errorf("with it again the pool targets %s, not %s", third, second)
	}

	bad := live.FileConfig("60-worker-bad", "relative", "")
	bad.Labels = map[string]string{live.RoleLabel: worker}
	s.must(cluster.SetMachineConfig(s.ctx, bad))
	s.is(mcfgv1.MachineConfigPoolRenderDegraded, bad.Name, "$.storage.files.0.path")
	if now := s.pool().Spec.Configuration.Name; now != second {
		t.Errorf("the pool targets %s, the last good one is %s", now, second)
	}

	// A config of Ignition's spec 2 is converted.
	old := live.FileConfig(bad.Name, "/etc/old", "")
	old.Labels = bad.Labels
	old.Spec.Config.Raw = []byte(`{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/etc/old","mode":384,"contents":{"source":"data:,old"}}]}}`)
	s.must(cluster.SetMachineConfig(s.ctx, old))
	compareFiles(t, s.files(s.built(s.rendered(second))), map[string]live.File{"etc/old": file(0o600, 0, "old")})
	s.must(cluster.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs().Delete(s.ctx, old.Name, metav1.DeleteOptions{}))
	s.eventually("without it the pool targets what it did", func() error {
		if now := s.pool().Spec.Configuration.Name; now != second {
			return fmt.Errorf("it targets %s", now)
		}
		return nil
	})

	// Another apply of the pool takes nothing away from it.
	apply("worker.yaml")
	if now := s.pool().Spec.Configuration.Name; now != second {
		t.Errorf("after the pool was applied again it targets %q", now)
	}
	s.must(cluster.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Delete(s.ctx, worker, metav1.DeleteOptions{}))
	s.eventually("its rendered configs go with the pool", func() error {
		for _, name := range []string{first, second} {
			_, err := cluster.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs().Get(s.ctx, name, metav1.GetOptions{})
			if err == nil {
				return fmt.Errorf("%s is there", name)
			}
			if !apierrors.IsNotFound(err) {
				return err
			}
		}
		return nil
	})
}
