//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// ending is a Build that does not end well, and what is told of it.
type ending struct {
	dockerfile string
	change     func(*buildv1.Build)
	// during is done while the step waits at the gate.
	during func(s *scenario, name string)

	phase   buildv1.BuildPhase
	reason  buildv1.StatusReason
	message string // a part of it
	snippet string // a part of it; empty for whatever it is
	// container has the text log in its log; empty where the pod has to be gone.
	container, log string
}

// Secrets to push with that do not do.
const (
	refusedLogin = "e2e-refused"
	opaque       = "e2e-opaque"
)

// rootBuilder is a builder image whose user is root.
const rootBuilder = "/e2e/s2i:root"

const noSteps = "FROM scratch\nCOPY Dockerfile /\n"

// pushedWith pushes to the registry that asks for a password.
func pushedWith(secret string) func(*buildv1.Build) {
	return func(b *buildv1.Build) {
		b.Spec.Output.To.Name = cluster.AuthRegistry + "/e2e/builds:" + b.Name
		b.Spec.Output.PushSecret = &corev1.LocalObjectReference{Name: secret}
	}
}

// limited is for steps that want more than they may have.
func limited(what corev1.ResourceName, quantity string) func(*buildv1.Build) {
	return func(b *buildv1.Build) {
		b.Spec.Resources.Limits = corev1.ResourceList{what: resource.MustParse(quantity)}
	}
}

func withDeadline(seconds int64) func(*buildv1.Build) {
	return func(b *buildv1.Build) { b.Spec.CompletionDeadlineSeconds = &seconds }
}

// endings are the Builds of TestEndingsOfBuilds.
func endings() map[string]ending {
	const failed = buildv1.BuildPhaseFailed
	return map[string]ending{
		"refused": {
			dockerfile: noSteps, change: pushedWith(refusedLogin),
			phase: failed, reason: buildv1.StatusReasonPushImageToRegistryFailed, message: "Failed to push the image to the registry.",
			snippet: "unauthorized", container: "push", log: "unauthorized",
		},
		"opaque": {
			dockerfile: noSteps, change: pushedWith(opaque),
			phase: failed, reason: buildv1.StatusReasonPushImageToRegistryFailed, message: "Failed to push the image to the registry.",
			snippet: `Secret "` + opaque + `"`, container: "manage-dockerfile", log: `reading Secret "` + opaque + `" that spec.output.pushSecret names: reading credentials: missing key`,
		},
		"root": {
			change: func(b *buildv1.Build) {
				from := corev1.ObjectReference{Kind: "DockerImage", Name: cluster.Registry + rootBuilder}
				b.Spec.Strategy = buildv1.BuildStrategy{Type: buildv1.SourceBuildStrategyType, SourceStrategy: &buildv1.SourceBuildStrategy{From: from}}
			},
			phase: failed, reason: s2i.ReasonAssembleUserForbidden, message: `USER: assemble would run as "root", and only users with a number in 1- are allowed`,
			container: "manage-dockerfile", log: "AssembleUserForbidden",
		},
		"cancelled": {
			dockerfile: "FROM $PLAIN\nRUN $GATE\n", during: (*scenario).cancelBuild,
			phase: buildv1.BuildPhaseCancelled, reason: buildv1.StatusReasonCancelledBuild, message: "The build was cancelled by the user.",
		},
		"drained": {
			dockerfile: "FROM $PLAIN\nRUN $GATE\n", during: (*scenario).evict,
			phase: buildv1.BuildPhaseError, reason: buildv1.StatusReasonBuildPodDeleted, message: "The pod for this build was deleted before the build completed.",
		},
		"late": {
			dockerfile: "FROM $PLAIN\nRUN $GATE\n", change: withDeadline(20),
			phase: failed, reason: buildv1.StatusReasonGenericBuildFailed, message: "The build exceeded completionDeadlineSeconds=20.",
		},
		"hungry": {
			dockerfile: "FROM $PLAIN\nRUN echo begun && perl -e 'push @all, \"x\" x 10_000_000 while 1'\n", change: limited(corev1.ResourceMemory, "300Mi"),
			phase: failed, reason: buildv1.StatusReasonOutOfMemoryKilled, message: "The build pod was killed due to an out of memory condition.",
			container: "docker-build", log: "begun",
		},
		"full": {
			dockerfile: "FROM $PLAIN\nRUN echo begun && dd if=/dev/zero of=/full bs=1M count=700 && $GATE\n", change: limited(corev1.ResourceEphemeralStorage, "600Mi"),
			phase: failed, reason: buildv1.StatusReasonBuildPodEvicted, message: "exceeds the limit \"600Mi\"",
		},
	}
}

// TestEndingsOfBuilds: whatever ends a build, its Build says what, in OpenShift's words.
func TestEndingsOfBuilds(t *testing.T) {
	s := newBuildsScenario(t)
	refused := live.Login{Host: cluster.AuthRegistry, User: cluster.AuthUser, Password: cluster.Canary.Password}
	s.must(cluster.SetLogins(s.ctx, refusedLogin, corev1.SecretTypeDockerConfigJson, refused))
	s.must(cluster.SetSecret(s.ctx, opaque, corev1.SecretTypeOpaque, map[string]string{"password": cluster.Canary.Password}))
	plain, err := cluster.OpenImage(cluster.PlainImage)
	s.must(err)
	image, err := mutate.Config(plain, v1.Config{User: "root"})
	s.must(err)
	s.must(cluster.PushImage(cluster.Registry+rootBuilder, image))
	all := endings()
	gates := map[string]*live.Gate{}
	for name, e := range all {
		gate, err := cluster.NewGate()
		s.must(err)
		t.Cleanup(func() { s.must(gate.Close()) })
		gates[name] = gate
		b := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: name}}
		text := strings.NewReplacer("$PLAIN", cluster.PlainImage, "$GATE", gate.Step).Replace(e.dockerfile)
		b.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceDockerfile, Dockerfile: &text}
		b.Spec.Strategy = buildv1.BuildStrategy{Type: buildv1.DockerBuildStrategyType, DockerStrategy: &buildv1.DockerBuildStrategy{}}
		b.Spec.Output.To = &corev1.ObjectReference{Kind: "DockerImage", Name: cluster.Registry + "/e2e/builds:" + name}
		if e.change != nil {
			e.change(b)
		}
		s.must(cluster.AddBuild(s.ctx, b))
	}
	for name, e := range all {
		if e.during != nil {
			s.must(gates[name].Waits(s.ctx))
			e.during(s, name)
		}
	}
	for name, e := range all {
		s.prove(name, func(s *scenario) { s.checkEnding(name, e) })
	}
}

func (s *scenario) checkEnding(name string, want ending) {
	build := s.ended(name)
	status := build.Status
	if status.Phase != want.phase || status.Reason != want.reason || !strings.Contains(status.Message, want.message) || !strings.Contains(status.LogSnippet, want.snippet) {
		s.t.Errorf("%s, %s: %q\nsnippet: %q\nwant %s, %s: %q\nsnippet: %q",
			status.Phase, status.Reason, status.Message, status.LogSnippet, want.phase, want.reason, want.message, want.snippet)
	}
	if status.StartTimestamp == nil || status.Duration != status.CompletionTimestamp.Sub(status.StartTimestamp.Time) {
		s.t.Errorf("it began at %s, ended at %s and took %s", status.StartTimestamp, status.CompletionTimestamp, status.Duration)
	}
	s.checkEvent(build)
	if want.container != "" {
		log, err := cluster.Kubectl(s.ctx, "logs", "pod/"+name+"-build", "--container", want.container)
		s.must(err)
		if !strings.Contains(log, want.log) {
			s.t.Errorf("%q is not in the log:\n%s", want.log, log)
		}
	}
	if want.phase == buildv1.BuildPhaseCancelled || want.reason == buildv1.StatusReasonBuildPodDeleted {
		s.eventually("the pod of "+name+" is gone", func() error {
			_, err := cluster.Clients.Core.CoreV1().Pods(live.Namespace).Get(s.ctx, name+"-build", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it is there: %w", err)
		})
	}
}

// checkEvent wants the event of a Build's last phase, once.
func (s *scenario) checkEvent(build *buildv1.Build) {
	s.t.Helper()
	want := live.Event{Reason: api.EventBuildFailed, Message: fmt.Sprintf("Build %s/%s failed", build.Namespace, build.Name), Count: 1}
	if build.Status.Phase == buildv1.BuildPhaseCancelled {
		want.Reason, want.Message = api.EventBuildCancelled, fmt.Sprintf("Build %s/%s has been cancelled", build.Namespace, build.Name)
	}
	s.eventually("an event tells of "+build.Name, func() error {
		events, err := cluster.BuildEvents(s.ctx, build)
		if err == nil && !slices.Contains(events, want) {
			err = fmt.Errorf("there are %v, want %v", events, want)
		}
		return err
	})
}

// cancelBuild asks for it as clients of OpenShift do.
func (s *scenario) cancelBuild(name string) {
	s.t.Helper()
	_, err := cluster.Kubectl(s.ctx, "patch", "build/"+name, "--subresource=status", "--type=merge", "--patch", `{"status":{"cancelled":true}}`)
	s.must(err)
}

// evict takes the pod away as whoever drains its node does.
func (s *scenario) evict(name string) {
	s.t.Helper()
	pods := cluster.Clients.Core.CoreV1().Pods(live.Namespace)
	s.must(pods.EvictV1(s.ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: name + "-build"}}))
}
