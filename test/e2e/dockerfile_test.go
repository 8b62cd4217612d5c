//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// twoStages uses what custom Dockerfiles are written for: a stage of their
// own, COPY from it, heredocs, mounts, and the config that is laid in already.
const twoStages = `FROM $PLAIN AS tools
RUN mkdir /out && echo made by the tools stage > /out/tool
FROM configs AS final
COPY --from=tools --chmod=0755 /out/tool /usr/bin/tool
RUN --mount=type=bind,from=tools,source=/out,target=/run/tools <<EOF
  set -e
  cp /run/tools/tool /etc/from-a-mount
  cp /etc/generation /etc/seen-by-the-step
  useradd --system --uid 900 agent
  install --owner=agent --mode=0640 /dev/null /etc/owned-by-the-agent
EOF
RUN for n in 1 2 3; do echo "tick $n"; sleep 0.5; done
`

func TestCustomDockerfileRunsOnTopOfTheConfig(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-custom", "/etc/generation", "7")
	s.customDockerfile(strings.ReplaceAll(twoStages, "$PLAIN", cluster.PlainImage))
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))

	pod := s.running()
	followed, err := cluster.Kubectl(s.ctx, "logs", "--follow", "pod/build-"+config.Name)
	s.must(err)
	image := s.built(config.Name)

	s.prove("the log follows the steps", func(s *scenario) {
		for _, want := range []string{"COPY --from=tools", "tick 1\n", "tick 3\n"} {
			if !strings.Contains(followed, want) {
				s.t.Errorf("%q is not in the log:\n%s", want, followed)
			}
		}
	})
	s.prove("what the steps made is in the image, with its owners", func(s *scenario) {
		owned := file(0o640, 900, "")
		owned.Gid = 0
		compareFiles(s.t, s.files(image), map[string]live.File{
			"etc/generation":         file(0o644, 0, "7"),
			"usr/bin/tool":           file(0o755, 0, "made by the tools stage\n"),
			"etc/from-a-mount":       file(0o644, 0, "made by the tools stage\n"),
			"etc/seen-by-the-step":   file(0o644, 0, "7"),
			"etc/owned-by-the-agent": owned,
		})
	})
	s.prove("labels and annotations tell where the image comes from", func(s *scenario) {
		s.checkOrigin(image, config.Name)
	})
	s.prove("build objects are gone, the record stays", func(s *scenario) {
		s.onlyLeft("configmap/digest-" + config.Name)
	})
	s.prove("the steps ran without token, credential or privilege", func(s *scenario) {
		checkNoToken(s.t, pod)
		checkNothingToSteal(s.t, pod)
	})
}

// checkNothingToSteal looks at the container that runs the user's steps.
func checkNothingToSteal(t *testing.T, pod *corev1.Pod) {
	t.Helper()
	secret := map[string]bool{}
	for _, v := range pod.Spec.Volumes {
		// What steps are given on purpose is no credential of a registry.
		secret[v.Name] = v.Secret != nil && v.Secret.SecretName != api.SecretEntitlement && v.Secret.SecretName != api.SecretRPMKeys
	}
	i := slices.IndexFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == api.ContainerBuild })
	if i < 0 {
		t.Fatalf("the pod has no init container %s", api.ContainerBuild)
	}
	c := pod.Spec.InitContainers[i]
	for _, m := range c.VolumeMounts {
		if secret[m.Name] || strings.Contains(m.MountPath, "serviceaccount") {
			t.Errorf("container %s has %s mounted at %s", c.Name, m.Name, m.MountPath)
		}
	}
	if c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged {
		t.Errorf("container %s is privileged", c.Name)
	}
	if nonRoot := pod.Spec.SecurityContext.RunAsNonRoot; nonRoot == nil || !*nonRoot {
		t.Error("the pod may run as root")
	}
}

const failing = `FROM configs AS final
RUN echo this one is fine
RUN <<EOF
  echo looking for the package
  echo no such package >&2
  exit 42
EOF
`

func TestS12FailingStepIsExplainedAndCorrectedByAnEdit(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-failing", "/etc/generation", "1")
	s.customDockerfile(failing)
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))

	message := s.failed(
		"RUN <<EOF", "step 3, line 3 of the custom Dockerfile", "exit code 42", "no such package", "pod/build-"+config.Name)
	if degraded := s.is(mcfgv1.MachineConfigPoolImageBuildDegraded); degraded != message {
		t.Errorf("ImageBuildDegraded says %q, BuildFailed %q", degraded, message)
	}
	log, err := cluster.Kubectl(s.ctx, "logs", "pod/build-"+config.Name)
	s.must(err)
	for _, want := range []string{"this one is fine", "looking for the package", "no such package"} {
		if !strings.Contains(log, want) {
			t.Errorf("%q is not in the log of the failed pod:\n%s", want, log)
		}
	}
	if pods := s.builds.Pods(); len(pods) != 1 {
		t.Errorf("%d pods were made with %s=0", len(pods), api.KeyMaxBuildRetries)
	}
	if image := s.pool().Annotations[api.AnnotationNewestImage]; image != "" {
		t.Errorf("the pool names %s after a failed build", image)
	}

	s.customDockerfile(strings.Replace(failing, "exit 42", "echo found > /etc/package", 1))
	files := s.files(s.built(config.Name))
	compareFiles(t, files, map[string]live.File{"etc/package": file(0o644, 0, "found\n")})
	s.onlyLeft("configmap/digest-" + config.Name)
}

func TestS33UnreadableDockerfileIsRefusedWithItsLine(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-unreadable", "/etc/generation", "1")
	s.customDockerfile("FROM configs AS final\nRUNN true\n")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("line 2", "RUNN", api.ConfigMapCustomDockerfile)
	if pods := s.builds.Pods(); len(pods) != 0 {
		t.Errorf("%d pods were made of it", len(pods))
	}
}

func TestS12StepThatStopsTheBuildIsAFailureLikeAnyOther(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-stopped", "/etc/generation", "1")
	// The process that reports the build's end is in reach of the steps.
	s.customDockerfile("FROM configs AS final\nRUN kill -TERM 1; sleep 60\n")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("pod/build-" + config.Name)
	if record := s.record(config.Name); record.Attempts != 1 || record.Interruptions != 0 {
		t.Errorf("the record counts %d attempts and %d interruptions", record.Attempts, record.Interruptions)
	}
}
