//go:build e2e

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestS24PoolsTellHowTheirBuildsEnded: what a pool says of a Build that did not end well is
// what it says of such a pod.
func TestS24PoolsTellHowTheirBuildsEnded(t *testing.T) {
	s := newBuildsScenario(t)
	s.must(cluster.SetSecret(s.ctx, opaque, corev1.SecretTypeOpaque, map[string]string{"password": cluster.Canary.Password}))
	refused := live.Login{Host: cluster.AuthRegistry, User: cluster.AuthUser, Password: cluster.Canary.Password}
	s.must(cluster.SetLogins(s.ctx, refusedLogin, corev1.SecretTypeDockerConfigJson, refused))
	config := configOf(worker)

	s.configure(map[string]string{api.KeyFinalImagePullspec: cluster.AuthRegistry + "/e2e/os-images", api.KeyFinalImagePushSecretName: opaque})
	s.addPools(map[string]string{worker: harmless})
	s.prove("a Secret of the wrong type", func(s *scenario) {
		s.failedAs(worker, api.ReasonInvalidConfig, `Secret "`+opaque+`" is of type "Opaque"`, api.KeyFinalImagePushSecretName)
		if _, err := s.buildOf(config); !apierrors.IsNotFound(err) {
			s.t.Errorf("a Build was made for it: %v", err)
		}
	})
	s.prove("a login that the registry refuses", func(s *scenario) {
		s.configure(map[string]string{api.KeyFinalImagePushSecretName: refusedLogin})
		s.failedAs(worker, api.ReasonPushFailed, "Failed to push the image to the registry.", "unauthorized", api.KeyFinalImagePullspec,
			"oc logs build/build-"+config, "kubectl logs --all-containers --ignore-errors pod/"+names.BuildPod("build-"+config))
	})
	s.configure(map[string]string{api.KeyFinalImagePullspec: cluster.Registry + "/e2e/os-images", api.KeyFinalImagePushSecretName: ""})
	s.prove("more memory than it may have", func(s *scenario) {
		s.configure(map[string]string{api.KeyBuildPodResources: "{limits: {memory: 300Mi}}"})
		s.dockerfiles(map[string]string{worker: "FROM configs AS final\nRUN echo begun && tail /dev/zero\n"})
		s.failedAs(worker, api.ReasonOutOfMemory, api.KeyBuildPodResources)
	})
	s.prove("more time than it may take", func(s *scenario) {
		gate, err := cluster.NewGate()
		s.must(err)
		s.t.Cleanup(func() { s.must(gate.Close()) })
		s.configure(map[string]string{api.KeyBuildPodResources: "", api.KeyBuildTimeout: "30s"})
		s.dockerfiles(map[string]string{worker: "FROM configs AS final\nRUN " + gate.Step + "\n"})
		s.must(gate.Waits(s.ctx))
		s.failedAs(worker, api.ReasonBuildTimedOut, api.KeyBuildTimeout+"=30s")
	})
	s.prove("and then it is built", func(s *scenario) {
		s.configure(map[string]string{api.KeyBuildTimeout: ""})
		s.dockerfiles(map[string]string{worker: strings.ReplaceAll(harmless, "true", "echo well > /etc/ended")})
		compareFiles(s.t, s.files(s.builtFor(worker)), map[string]live.File{"etc/ended": file(0o644, 0, "well\n")})
	})
}
