//go:build e2e

package e2e

import (
	"bytes"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestStepsOfBuildsReachNoCredential gives a Build every Secret that one can name but
// those that its steps are to have: to fetch its source, to pull the image that it
// builds on and one that it copies from, and to push.
func TestStepsOfBuildsReachNoCredential(t *testing.T) {
	s := newBuildsScenario(t)
	from := s.serveSources()
	// The registry's own login, and one that the snoop knows.
	logins := []live.Login{cluster.AuthLogin(), cluster.Canary}
	s.must(cluster.SetLogins(s.ctx, "e2e-push", corev1.SecretTypeDockerConfigJson, logins...))
	s.must(cluster.SetLogins(s.ctx, "e2e-pull", corev1.SecretTypeDockercfg, logins...))
	s.must(cluster.SetLogins(s.ctx, "e2e-images", corev1.SecretTypeDockerConfigJson, logins...))
	decoy := "canary-" + strings.Repeat("0", 24)
	var look bytes.Buffer
	s.must(snoop.Execute(&look, map[string]string{"Pattern": cluster.Canary.Pattern(), "Decoy": decoy, "From": cluster.AuthPlainImage}))
	text := look.String() + "COPY injected/debian_version /etc/injected\nCOPY app/page /etc/fetched\n"
	image := corev1.ObjectReference{Kind: "DockerImage", Name: cluster.AuthPlainImage}
	secret := func(name string) *corev1.LocalObjectReference { return &corev1.LocalObjectReference{Name: name} }
	s.must(cluster.AddBuild(s.ctx, &buildv1.Build{
		ObjectMeta: metav1.ObjectMeta{Name: "snoop"},
		Spec: buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{
			Source: buildv1.BuildSource{
				Type: buildv1.BuildSourceGit, Git: &buildv1.GitBuildSource{URI: from.git.URL + "/app.git"}, SourceSecret: secret("git-login"), Dockerfile: &text,
				Images: []buildv1.ImageSource{{From: image, PullSecret: secret("e2e-images"), Paths: []buildv1.ImageSourcePath{{SourcePath: "/etc/debian_version", DestinationDir: "injected"}}}},
			},
			Strategy: buildv1.BuildStrategy{Type: buildv1.DockerBuildStrategyType, DockerStrategy: &buildv1.DockerBuildStrategy{PullSecret: secret("e2e-pull")}},
			Output:   buildv1.BuildOutput{To: &corev1.ObjectReference{Kind: "DockerImage", Name: cluster.AuthRegistry + "/e2e/builds:snoop"}, PushSecret: secret("e2e-push")},
		}},
	}))
	s.base = cluster.AuthPlainImage
	build, built := s.complete("snoop")
	files := s.files(built)
	s.foundNothing(files, decoy)
	for _, path := range []string{"etc/injected", "etc/fetched"} {
		if files[path].Content == "" {
			t.Errorf("/%s is not in the image: a Secret was of no use", path)
		}
	}
	if build.Spec.Revision == nil {
		t.Error("the Build does not tell its commit")
	}
	s.must(witness.Blobs())
	looked := witness.Looked()
	t.Logf("looked at %v", looked)
	for _, kind := range []string{"builds", "pods", "events", "blobs", "log of " + api.ContainerDockerBuild} {
		if looked[kind] == 0 {
			t.Errorf("nothing was searched: %s", kind)
		}
	}
	if found := witness.Found(); len(found) > 0 {
		t.Errorf("a login was found in %q", found)
	}
}
