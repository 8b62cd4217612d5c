//go:build e2e

package e2e

import (
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestBuildOutlivesWhoRunsIt: the controller is replaced and the executor killed while
// a pool's Build runs.
func TestBuildOutlivesWhoRunsIt(t *testing.T) {
	s := newBuildsScenario(t)
	pods, err := cluster.WatchPods(s.ctx, buildv1.BuildLabel)
	s.must(err)
	gate, err := cluster.NewGate()
	s.must(err)
	t.Cleanup(func() { s.must(gate.Close()) })
	config := live.FileConfig("rendered-worker-restart", "/etc/generation", "1")
	s.customDockerfile("FROM configs AS final\nRUN " + gate.Step + " && echo done > /etc/interrupted\n")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.must(gate.Waits(s.ctx))
	before, err := s.buildOf(config.Name)
	s.must(err)

	s.must(cluster.KillExecutor(s.ctx))
	s.must(cluster.RestartController(s.ctx))
	during, err := s.buildOf(config.Name)
	s.must(err)
	if during.UID != before.UID || during.Status.Phase != buildv1.BuildPhaseRunning {
		t.Errorf("Build %s was %s, and %s is %s", before.UID, before.Status.Phase, during.UID, during.Status.Phase)
	}
	s.must(gate.Open())

	image := s.built(config.Name)
	compareFiles(t, s.files(image), map[string]live.File{"etc/interrupted": file(0o644, 0, "done\n")})
	all := pods.Pods()
	if len(all) != 1 {
		t.Fatalf("%d pods were made", len(all))
	}
	for _, c := range live.Containers(all[0]) {
		if c.Name != api.ContainerPush || c.State.Terminated == nil {
			continue
		}
		report, err := buildreport.Parse(c.State.Terminated.Message)
		s.must(err)
		if !strings.HasSuffix(image.Pullspec, "@"+report.Digest) {
			t.Errorf("the pool names %s, and %s was pushed", image.Pullspec, report.Digest)
		}
		return
	}
	t.Errorf("nothing was pushed: %+v", all[0].Status)
}
