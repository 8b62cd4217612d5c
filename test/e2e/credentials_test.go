//go:build e2e

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

func TestRegistriesThatAskForAPassword(t *testing.T) {
	const pushSecret, pullSecret = "e2e-push", "e2e-pull"
	s := newScenario(t)
	s.must(cluster.SetPullSecret(s.ctx, pushSecret, corev1.SecretTypeDockerConfigJson))
	s.must(cluster.SetPullSecret(s.ctx, pullSecret, corev1.SecretTypeDockercfg))
	s.baseImage(cluster.AuthBaseImage)
	config := live.FileConfig("rendered-worker-login", "/etc/generation", "1")

	s.configure(map[string]string{
		api.KeyFinalImagePullspec:       cluster.AuthRegistry + "/e2e/os-images",
		api.KeyFinalImagePushSecretName: "e2e-missing",
		api.KeyBaseImagePullSecretName:  pullSecret,
	})
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("e2e-missing", api.KeyFinalImagePushSecretName)

	// Config only: one container holds both logins and runs nothing.
	s.configure(map[string]string{api.KeyFinalImagePushSecretName: pushSecret})
	compareFiles(t, s.files(s.built(config.Name)), map[string]live.File{"etc/generation": file(0o644, 0, "1")})

	// With steps, the container that runs them holds neither.
	s.customDockerfile("FROM configs AS final\nRUN cp /etc/generation /etc/copy\n")
	checkNothingToSteal(t, s.running())
	compareFiles(t, s.files(s.built(config.Name)), map[string]live.File{"etc/copy": file(0o644, 0, "1")})
}
