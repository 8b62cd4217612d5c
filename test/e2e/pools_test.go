//go:build e2e

package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// harmless is a Dockerfile with a step that changes nothing.
const harmless = "FROM configs AS final\nRUN true\n"

// configOf is the rendered config that addPools makes for a pool.
func configOf(pool string) string { return "rendered-" + pool + "-1" }

// addPools makes pools that build at the same time, each with a config and a
// custom Dockerfile of its own, and opts them in.
func (s *scenario) addPools(dockerfiles map[string]string) {
	s.t.Helper()
	s.configure(map[string]string{api.KeyMaxConcurrentBuilds: fmt.Sprint(len(dockerfiles))})
	s.dockerfiles(dockerfiles)
	for _, pool := range slices.Sorted(maps.Keys(dockerfiles)) {
		s.must(cluster.SetMachineConfig(s.ctx, live.FileConfig(configOf(pool), "/etc/pool", pool)))
		s.must(cluster.AddPool(s.ctx, pool, configOf(pool)))
		s.must(cluster.OptIn(s.ctx, pool))
	}
}

func (s *scenario) dockerfiles(texts map[string]string) {
	s.t.Helper()
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapCustomDockerfile, texts))
}

// failedAs waits until a pool's build has failed for a reason, with a message
// that holds the given texts.
func (s *scenario) failedAs(pool, reason string, texts ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("the build of %s fails as %s", pool, reason), func() error {
		p, err := cluster.Pool(s.ctx, pool)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(p.Status.Conditions, func(c mcfgv1.MachineConfigPoolCondition) bool {
			return c.Type == mcfgv1.MachineConfigPoolBuildFailed && c.Status == corev1.ConditionTrue
		})
		if i < 0 || p.Status.Conditions[i].Reason != reason {
			return fmt.Errorf("conditions %v", p.Status.Conditions)
		}
		for _, text := range texts {
			if message := p.Status.Conditions[i].Message; !strings.Contains(message, text) {
				return fmt.Errorf("%q is not in the message %q", text, message)
			}
		}
		s.t.Logf("%s: %s", reason, p.Status.Conditions[i].Message)
		return nil
	})
}

// builtFor waits until a pool names the image of its config, and opens it. A
// failure that it still shows is taken for one of before.
func (s *scenario) builtFor(pool string) live.Image {
	s.t.Helper()
	var pullspec string
	s.eventually("the image of "+pool+" is built", func() error {
		p, err := cluster.Pool(s.ctx, pool)
		if err == nil {
			pullspec, err = live.Built(p, configOf(pool))
		}
		if err != nil {
			return fmt.Errorf("%s", err.Error())
		}
		return nil
	})
	image, err := cluster.OpenImage(pullspec)
	s.must(err)
	return image
}

// settled waits until a pool's build has ended, well or badly.
func (s *scenario) settled(pool string) {
	s.t.Helper()
	s.eventually("the build of "+pool+" has ended", func() error {
		p, err := cluster.Pool(s.ctx, pool)
		if err != nil {
			return err
		}
		_, failed := live.True(p, mcfgv1.MachineConfigPoolBuildFailed)
		if _, succeeded := live.True(p, mcfgv1.MachineConfigPoolBuildSuccess); !failed && !succeeded {
			return fmt.Errorf("conditions %v", p.Status.Conditions)
		}
		return nil
	})
}
