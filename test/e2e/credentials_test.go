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

// TestS27S28RotatedSecrets shares one Secret of the older type between two
// pools and replaces it: nothing is built for that, and the next build uses what
// it holds then, a password that the registry refuses included.
func TestS27S28RotatedSecrets(t *testing.T) {
	const both = "e2e-both"
	s := newScenario(t)
	rotate := func(password string) {
		s.must(cluster.SetLogins(s.ctx, both, corev1.SecretTypeDockercfg, live.Login{Host: cluster.AuthRegistry, User: cluster.AuthUser, Password: password}))
	}
	s.logins(both, both)
	rotate(cluster.AuthPassword)
	s.addPools(map[string]string{"first": "", "second": ""})
	for _, pool := range []string{"first", "second"} {
		compareFiles(t, s.files(s.builtFor(pool)), map[string]live.File{"etc/pool": file(0o644, 0, pool)})
	}

	rotate(cluster.Canary.Password)
	s.dockerfiles(map[string]string{"first": harmless})
	s.failedAs("first", api.ReasonPullFailed, "no login that this registry accepts")

	rotate(cluster.AuthPassword)
	s.dockerfiles(map[string]string{"first": harmless + "RUN true\n"})
	compareFiles(t, s.files(s.builtFor("first")), map[string]live.File{"etc/pool": file(0o644, 0, "first")})
	if n := len(s.podsOf("second")); n != 1 {
		t.Errorf("%d pods were made for the pool that did not change", n)
	}
}

// TestLoginsAreShownNowhere comes after a build of each kind that a registry
// refuses: the tests' witness has looked at all of it, and goes on to the end.
func TestLoginsAreShownNowhere(t *testing.T) {
	s := newScenario(t)
	s.logins("e2e-push", "e2e-pull")
	refused := live.Login{Host: cluster.AuthRegistry, User: cluster.AuthUser, Password: cluster.Canary.Password}
	s.must(cluster.SetLogins(s.ctx, "e2e-push", corev1.SecretTypeDockerConfigJson, refused))
	s.addPools(map[string]string{"append": "", "steps": harmless})
	for _, pool := range []string{"append", "steps"} {
		s.settled(pool)
	}
	s.must(witness.Blobs())
	looked := witness.Looked()
	t.Logf("looked at %v", looked)
	for _, kind := range []string{
		"pods", "configmaps", "pools", "events", "events of pools", "processes", "blobs",
		"log of machine-os-builder", "log of prepare", "log of image-build",
	} {
		if looked[kind] == 0 {
			t.Errorf("nothing was searched: %s", kind)
		}
	}
	if found := witness.Found(); len(found) > 0 {
		t.Errorf("found in %q", found)
	}
}
