//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// newBuildsScenario is one on a cluster that has Builds, by which pools are built.
func newBuildsScenario(t *testing.T) *scenario {
	t.Helper()
	s := newScenario(t)
	s.must(cluster.DeployBuilds(s.ctx))
	t.Cleanup(func() {
		ctx := context.WithoutCancel(s.ctx)
		if t.Failed() {
			state, _ := cluster.Kubectl(ctx, "get", "builds,pods", "--output=yaml")
			t.Logf("%s\nexecutor:\n%s", state, cluster.ExecutorLog(ctx))
		}
		s.must(cluster.Reset(ctx))
		s.must(cluster.DeleteBuilds(ctx))
		s.must(cluster.RemoveBuilds(ctx))
	})
	s.configure(map[string]string{api.KeyImageBuilderType: api.BuilderOpenShift})
	return s
}

func (s *scenario) buildOf(config string) (*buildv1.Build, error) {
	return cluster.Build(s.ctx, "build-"+config)
}

// TestPoolBuiltByABuild: the same image as a pod makes, by a Build that the
// executor runs.
func TestPoolBuiltByABuild(t *testing.T) {
	s := newBuildsScenario(t)
	config := live.FileConfig("rendered-worker-build", "/etc/generation", "by-a-Build")
	s.customDockerfile(strings.ReplaceAll(twoStages, "$PLAIN", cluster.PlainImage))
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	var pod *corev1.Pod
	s.eventually("the steps run", func() (err error) {
		pod, err = cluster.Clients.Core.CoreV1().Pods(live.Namespace).Get(s.ctx, "build-"+config.Name+"-build", metav1.GetOptions{})
		if err == nil && !live.Started(pod, api.ContainerDockerBuild) {
			err = fmt.Errorf("the pod is %s", pod.Status.Phase)
		}
		return err
	})
	image := s.built(config.Name)

	s.prove("what the config and the steps made is in the image, with its owners", func(s *scenario) {
		files := s.files(image)
		want := map[string]live.File{
			"etc/generation":       file(0o644, 0, "by-a-Build"),
			"usr/bin/tool":         file(0o755, 0, "made by the tools stage\n"),
			"etc/from-a-mount":     file(0o644, 0, "made by the tools stage\n"),
			"etc/seen-by-the-step": file(0o644, 0, "by-a-Build"),
		}
		ours := maps.Clone(files)
		maps.DeleteFunc(ours, func(path string, _ live.File) bool { _, wanted := want[path]; return !wanted })
		compareFiles(s.t, ours, want)
		if got := files["etc/owned-by-the-agent"]; got.Uid != 900 || got.Mode != 0o640 {
			s.t.Errorf("etc/owned-by-the-agent is %+v", got)
		}
		for path := range files {
			if strings.HasPrefix(path, "layer") || strings.HasPrefix(path, "machine-config") || strings.HasPrefix(path, "run/") {
				s.t.Errorf("the build left %s in the image", path)
			}
		}
	})
	s.prove("labels tell where the image comes from", func(s *scenario) {
		labels, err := image.Labels()
		s.must(err)
		if labels[api.ImageLabelMachineConfig] != config.Name || labels["io.openshift.build.name"] != "build-"+config.Name {
			s.t.Errorf("labels %v", labels)
		}
	})
	s.prove("the steps ran without token, credential or privilege", func(s *scenario) {
		checkNoToken(s.t, pod)
		for _, c := range pod.Spec.InitContainers {
			if c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged {
				s.t.Errorf("container %s is privileged", c.Name)
			}
		}
	})
	s.prove("build objects are gone, the record stays", func(s *scenario) {
		s.onlyLeft("configmap/digest-" + config.Name)
		s.eventually("the Build is gone", func() error {
			_, err := s.buildOf(config.Name)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %w", err)
		})
	})
}

// TestFailingBuildIsExplained: what the step printed and the name of the Build
// reach the pool.
func TestFailingBuildIsExplained(t *testing.T) {
	s := newBuildsScenario(t)
	config := live.FileConfig("rendered-worker-failing-build", "/etc/generation", "1")
	s.customDockerfile(failing)
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("build/build-"+config.Name, "DockerBuildFailed", "no such package")
	build, err := s.buildOf(config.Name)
	s.must(err)
	if build.Status.Phase != buildv1.BuildPhaseFailed || build.Status.LogSnippet == "" || build.Status.Duration == 0 {
		t.Errorf("status %+v", build.Status)
	}
	log, err := cluster.Kubectl(s.ctx, "logs", "pod/build-"+config.Name+"-build")
	s.must(err)
	if !strings.Contains(log, "looking for the package") {
		t.Errorf("log:\n%s", log)
	}
}
