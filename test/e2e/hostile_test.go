//go:build e2e

package e2e

import (
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// hostileBuilds are Dockerfiles that want more than there is, each for a pool of
// its own, and what the pool says of them.
var hostileBuilds = map[string]struct {
	dockerfile, reason string
	says               []string
}{
	"flood": {`FROM configs AS final
RUN yes "$(head -c 200 /dev/zero | tr '\0' x)" | head -c 1G; echo; echo these are the last words; exit 3
`, api.ReasonBuildFailed, []string{"exit code 3", "these are the last words"}},
	"long-line": {`FROM configs AS final
RUN head -c 1G /dev/zero | tr '\0' x; echo; echo these are the last words; exit 4
`, api.ReasonBuildFailed, []string{"exit code 4", "these are the last words"}},
	// buildah may end before it has read what a step writes as its last thing, so the
	// step counts for a while, which takes no process, before it ends.
	"forks": {`FROM configs AS final
RUN (while sleep 600 & do :; done); code=$?; n=0; while [ $n -lt 500000 ]; do n=$((n+1)); done; exit $code
`, api.ReasonBuildFailed, []string{"exit code 2", "Cannot fork"}},
	"disk": {`FROM configs AS final
RUN head -c 3G /dev/zero > /filled; sleep 600
`, api.ReasonOutOfStorage, []string{"exceeds the", "1Gi", api.KeyBuildPodResources}},
	"memory": {`FROM configs AS final
RUN tail /dev/zero
`, api.ReasonOutOfMemory, []string{"limit 2Gi", api.KeyBuildPodResources}},
}

func TestS24HostileDockerfilesAreStoppedAndNamed(t *testing.T) {
	s := newScenario(t)
	s.configure(map[string]string{api.KeyBuildPodResources: `{limits: {memory: 2Gi, ephemeral-storage: 1Gi}}`})
	hostile := map[string]string{}
	for pool, build := range hostileBuilds {
		hostile[pool] = build.dockerfile
	}
	s.addPools(hostile)
	for pool, build := range hostileBuilds {
		s.prove(pool, func(s *scenario) {
			s.failedAs(pool, build.reason, build.says...)
			p, err := cluster.Pool(s.ctx, pool)
			s.must(err)
			if image := p.Annotations[api.AnnotationNewestImage]; image != "" {
				s.t.Errorf("the pool names %s", image)
			}
		})
	}
	s.prove("the next build works", func(s *scenario) {
		const pool = "disk"
		hostile[pool] = harmless
		s.dockerfiles(hostile)
		compareFiles(s.t, s.files(s.builtFor(pool)), map[string]live.File{"etc/pool": file(0o644, 0, pool)})
	})
}

func TestS24BuildThatNeverEndsIsStoppedAtTheTimeout(t *testing.T) {
	s := newScenario(t)
	s.configure(map[string]string{api.KeyBuildTimeout: "20s"})
	s.addPools(map[string]string{worker: "FROM configs AS final\nRUN sleep infinity\n"})
	s.failedAs(worker, api.ReasonBuildTimedOut, api.KeyBuildTimeout+"=20s")
	pod, _ := s.builds.Last()
	for _, status := range live.Containers(pod) {
		if status.State.Running != nil {
			t.Errorf("container %s still runs", status.Name)
		}
	}
}
