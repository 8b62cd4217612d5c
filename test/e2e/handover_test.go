//go:build e2e

package e2e

import (
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// brokenOut does, in the container of the steps and as their user, what a step
// that got out of its root could do: it puts a link where the manifest is going
// to be written, and ends the step that waits. What push takes on trust it must
// not be able to change.
const brokenOut = `cd /var/lib/os-image-builder || exit
if echo '{}' > work/plan.json; then echo "the plan can be written"; exit 8; fi
ln -s real.json handover/manifest.json || exit
until [ "$ended" ]; do
  sleep 0.2
  for process in /proc/[0-9]*; do
    [ "$(tr '\0' ' ' < $process/cmdline)" = "sleep 4242 " ] && kill ${process#/proc/} && ended=yes
  done
done 2>/dev/null
exit 0`

func TestLinkInTheHandoverIsRefusedByItsName(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-tampered", "/etc/generation", "1")
	s.customDockerfile("FROM configs AS final\nRUN sleep 4242; true\n")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.running()
	_, err := cluster.Kubectl(s.ctx, "exec", "pod/build-"+config.Name, "--container", api.ContainerBuild, "--", "bash", "-c", brokenOut)
	s.must(err)
	s.failed("manifest.json is a symbolic link, want a file", "steps of the custom Dockerfile", "pod/build-"+config.Name)
	if image := s.pool().Annotations[api.AnnotationNewestImage]; image != "" {
		t.Errorf("the pool names %s", image)
	}
}
