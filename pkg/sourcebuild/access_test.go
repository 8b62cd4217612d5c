package sourcebuild

import (
	"context"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

// TestSecretsWithoutLogins: a Secret of another type fails the Build for what it is
// meant for, by its name.
func TestSecretsWithoutLogins(t *testing.T) {
	other := &corev1.LocalObjectReference{Name: "opaque"}
	for field, test := range map[string]struct {
		change  func(p *pod, dir string)
		reason  buildv1.StatusReason
		message string
	}{
		"spec.output.pushSecret": {func(p *pod, dir string) {
			p.build.Spec.Output.PushSecret, p.prepare.PushSecretDir = other, dir
		}, buildv1.StatusReasonPushImageToRegistryFailed, "Failed to push the image to the registry."},
		"spec.strategy.dockerStrategy.pullSecret": {func(p *pod, dir string) {
			p.build.Spec.Strategy.DockerStrategy.PullSecret, p.prepare.PullSecretDirs = other, []string{dir}
		}, buildv1.StatusReasonPullBuilderImageFailed, "Failed pulling builder image."},
		"spec.strategy.sourceStrategy.pullSecret": {func(p *pod, dir string) {
			p.build.Spec.Strategy = buildv1.BuildStrategy{SourceStrategy: &buildv1.SourceBuildStrategy{PullSecret: other}}
			p.prepare.PullSecretDirs = []string{dir}
		}, buildv1.StatusReasonPullBuilderImageFailed, "Failed pulling builder image."},
		"spec.source.images[1].pullSecret": {func(p *pod, dir string) {
			p.build.Spec.Source.Images, p.prepare.ImageSecretDirs[1] = []buildv1.ImageSource{{}, {PullSecret: other}}, dir
		}, buildv1.StatusReasonFetchImageContentFailed, "Failed to extract image content."},
	} {
		t.Run(field, func(t *testing.T) {
			p := newPod(t, "FROM scratch\n")
			test.change(p, p.mounted("opaque", map[string]string{"password": "hunter2"}))
			report := Report(Prepare(context.Background(), p.prepare, p.progress()))
			if report.Reason != test.reason || report.Message != test.message {
				t.Errorf("report = %+v", report)
			}
			line := strings.Join(report.Log, "\n")
			for _, want := range []string{field, `Secret "opaque"`, "missing key .dockerconfigjson or .dockercfg", "kubernetes.io/dockerconfigjson"} {
				if !strings.Contains(line, want) {
					t.Errorf("%q does not say %s", line, want)
				}
			}
		})
	}
}

// TestAllowedUIDs: whom assemble would run as is known before anything runs.
func TestAllowedUIDs(t *testing.T) {
	p := newSourcePod(t)
	var err error
	if p.prepare.AllowedUIDs, err = s2i.ParseUIDs("2000-"); err != nil {
		t.Fatal(err)
	}
	report := Report(Prepare(context.Background(), p.prepare, p.progress()))
	if report.Reason != s2i.ReasonAssembleUserForbidden || !strings.Contains(report.Message, `assemble would run as "1001", and only users with a number in 2000- are allowed`) {
		t.Errorf("report = %+v", report)
	}
}
