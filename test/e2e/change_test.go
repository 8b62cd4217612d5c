//go:build e2e

package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// lasting is a Dockerfile whose build lasts until somebody ends it: the step
// waits for a file that nobody makes.
const lasting = `FROM configs AS final
RUN echo begun; while ! test -e /tmp/over; do sleep 0.1; done
`

// unhurried builds long enough for a controller to be killed meanwhile.
const unhurried = `FROM configs AS final
RUN echo begun; sleep 5; echo done > /etc/unhurried
`

func TestS01NewerConfigReplacesARunningBuild(t *testing.T) {
	s := newScenario(t)
	first, second := live.FileConfig("rendered-worker-old", "/etc/generation", "1"), live.FileConfig("rendered-worker-new", "/etc/generation", "2")
	s.must(cluster.SetMachineConfig(s.ctx, second))
	s.customDockerfile(lasting)
	s.addWorkers(first)
	s.must(cluster.OptIn(s.ctx, worker))
	s.logged(s.running(), "begun")

	// Both change while the old build still runs: only what is newest counts.
	s.must(cluster.Target(s.ctx, worker, second.Name))
	s.is(mcfgv1.MachineConfigPoolBuildInterrupted, "build-"+first.Name)
	s.customDockerfile("FROM configs AS final\nRUN echo short > /etc/short\n")

	files := s.files(s.built(second.Name))
	compareFiles(t, files, map[string]live.File{
		"etc/generation": file(0o644, 0, "2"),
		"etc/short":      file(0o644, 0, "short\n"),
	})
	s.onlyLeft("configmap/digest-" + second.Name)
	if s.eventsOf(api.EventBuildInterrupted) == 0 {
		t.Error("no event tells of the interruption")
	}
}

func TestS25OptOutDuringABuildRemovesAllAndOptInBuildsAgain(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-in-and-out", "/etc/generation", "1")
	s.customDockerfile(lasting)
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.logged(s.running(), "begun")

	s.must(cluster.OptOut(s.ctx, worker))
	s.onlyLeft()
	s.eventually("the pool shows nothing of builds", func() error { return live.Untouched(s.pool()) })

	s.customDockerfile("")
	s.must(cluster.OptIn(s.ctx, worker))
	compareFiles(t, s.files(s.built(config.Name)), map[string]live.File{"etc/generation": file(0o644, 0, "1")})
}

func TestOptInAgainTakesTheImageThatTheRegistryHas(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-again", "/etc/generation", "1")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	image := s.built(config.Name)

	s.must(cluster.OptOut(s.ctx, worker))
	s.onlyLeft()
	s.eventually("the pool names no image", func() error { return live.Untouched(s.pool()) })
	s.must(cluster.OptIn(s.ctx, worker))
	s.image = ""
	if again := s.built(config.Name); again.Pullspec != image.Pullspec {
		t.Errorf("the image was %s, after opting in again it is %s", image.Pullspec, again.Pullspec)
	}
	if pods := s.builds.Pods(); len(pods) != 1 {
		t.Errorf("%d pods were made", len(pods))
	}
}

func TestS16ControllerKilledDuringABuildBuildsNothingTwice(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-survivor", "/etc/generation", "1")
	s.customDockerfile(unhurried)
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.logged(s.running(), "begun")
	s.must(cluster.KillController(s.ctx))

	image := s.built(config.Name)
	compareFiles(t, s.files(image), map[string]live.File{"etc/unhurried": file(0o644, 0, "done\n")})
	if pods := s.builds.Pods(); len(pods) != 1 {
		t.Errorf("%d pods built the image", len(pods))
	}
	if record := s.record(config.Name); record.Attempts != 1 || record.Interruptions != 0 {
		t.Errorf("the record counts %d attempts and %d interruptions", record.Attempts, record.Interruptions)
	}
	s.onlyLeft("configmap/digest-" + config.Name)
	if n := s.eventsOf(api.EventBuildStarted); n != 1 {
		t.Errorf("%d events tell that the build started", n)
	}
}

// TestPoolThatIsNotOptedInHasNothingOfBuilds: but for its machines, which are
// counted for every pool where nobody else does, it is as its owner made it.
func TestPoolThatIsNotOptedInHasNothingOfBuilds(t *testing.T) {
	s := newScenario(t)
	bystander := live.FileConfig("rendered-infra-1", "/etc/generation", "1")
	s.must(cluster.SetMachineConfig(s.ctx, bystander))
	s.must(cluster.AddPool(s.ctx, "infra", bystander.Name))
	before, err := cluster.Pool(s.ctx, "infra")
	s.must(err)
	config := live.FileConfig("rendered-worker-neighbour", "/etc/generation", "1")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.built(config.Name)
	after, err := cluster.Pool(s.ctx, "infra")
	s.must(err)
	s.must(live.Untouched(after))
	for _, p := range []*mcfgv1.MachineConfigPool{before, after} {
		p.ResourceVersion, p.ManagedFields, p.Status = "", nil, mcfgv1.MachineConfigPoolStatus{}
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the pool infra was written to:\n%s", diff)
	}
}

// eventsOf counts the events of a reason on the pool as it is now.
func (s *scenario) eventsOf(reason string) (count int) {
	s.t.Helper()
	events, err := cluster.Events(s.ctx, s.pool())
	s.must(err)
	for _, e := range events {
		if e.Reason == reason {
			count += int(e.Count)
		}
	}
	return count
}
