//go:build e2e

package e2e

import (
	"context"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestPodSecurityLevels builds under the levels that the namespace enforces: a
// build that runs nothing needs no more than restricted, one with steps needs
// baseline, which is what the manifests set.
func TestPodSecurityLevels(t *testing.T) {
	s := newScenario(t)
	level, err := cluster.PodSecurity(s.ctx)
	s.must(err)
	if level != live.Baseline {
		t.Errorf("the manifests enforce %q", level)
	}
	s.must(cluster.EnforcePodSecurity(s.ctx, live.Restricted))
	t.Cleanup(func() { s.must(cluster.EnforcePodSecurity(context.WithoutCancel(s.ctx), live.Baseline)) })

	s.addWorkers(live.FileConfig(configOf(worker), "/etc/pool", worker))
	s.must(cluster.OptIn(s.ctx, worker))
	compareFiles(t, s.files(s.built(configOf(worker))), map[string]live.File{"etc/pool": file(0o644, 0, worker)})

	s.customDockerfile("FROM configs AS final\nRUN echo step > /etc/step\n")
	s.failedAs(worker, api.ReasonCannotStart, `violates PodSecurity "restricted:latest"`)

	s.must(cluster.EnforcePodSecurity(s.ctx, live.Baseline))
	s.customDockerfile("FROM configs AS final\nRUN echo another step > /etc/step\n")
	compareFiles(t, s.files(s.builtFor(worker)), map[string]live.File{"etc/step": file(0o644, 0, "another step\n")})
}
