//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// interrupted builds long enough for all that TestS19S23 does meanwhile.
const interrupted = `FROM configs AS final
RUN echo begun; sleep 15; echo done > /etc/interrupted
`

// TestS19S23InterruptionsAreNobodysFailure interrupts three builds at once: one
// pod is evicted, one is deleted by hand, and the third sees the controller
// drained and started again elsewhere.
func TestS19S23InterruptionsAreNobodysFailure(t *testing.T) {
	s := newScenario(t)
	const evicted, deleted, drained = "evicted", "deleted", "drained"
	s.addPools(map[string]string{evicted: interrupted, deleted: interrupted, drained: interrupted})
	for _, pool := range []string{evicted, deleted, drained} {
		s.logged(s.runningFor(pool), "begun")
	}
	pods := cluster.Clients.Core.CoreV1().Pods(live.Namespace)
	s.must(pods.EvictV1(s.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: names.Build(configOf(evicted))}}))
	s.must(pods.Delete(s.ctx, names.Build(configOf(deleted)), metav1.DeleteOptions{}))
	s.must(cluster.RestartController(s.ctx))

	for pool, interruptions := range map[string]int{evicted: 1, deleted: 1, drained: 0} {
		s.prove(pool, func(s *scenario) {
			compareFiles(s.t, s.files(s.builtFor(pool)), map[string]live.File{"etc/interrupted": file(0o644, 0, "done\n")})
			if r := s.record(configOf(pool)); r.Attempts != 1 || r.Interruptions != interruptions {
				s.t.Errorf("the record counts %d attempts and %d interruptions, want 1 and %d", r.Attempts, r.Interruptions, interruptions)
			}
			if n := len(s.podsOf(pool)); n != 1+interruptions {
				s.t.Errorf("%d pods were made", n)
			}
		})
	}
}

// podsOf are all pods that were made for a pool.
func (s *scenario) podsOf(pool string) (pods []*corev1.Pod) {
	for _, pod := range s.builds.Pods() {
		if pod.Name == names.Build(configOf(pool)) {
			pods = append(pods, pod)
		}
	}
	return pods
}

// runningFor waits until the user's steps run for a pool, and returns their pod.
func (s *scenario) runningFor(pool string) (pod *corev1.Pod) {
	s.t.Helper()
	s.eventually("the build of "+pool+" runs", func() error {
		pods := s.podsOf(pool)
		if len(pods) == 0 || !live.Started(pods[len(pods)-1], "image-build") {
			return fmt.Errorf("%d pods were made, and no step runs", len(pods))
		}
		pod = pods[len(pods)-1]
		return nil
	})
	return pod
}
