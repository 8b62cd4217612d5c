package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
)

// TestBuildHappyPath: from a Dockerfile to a digest, with no write more than it takes.
func TestBuildHappyPath(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	w.create(w.newBuild("app-1"))
	// Clients of OpenShift look for the pod of a Build that is Pending.
	if b := w.reaches("app-1", buildv1.BuildPhasePending, ""); b.Annotations[buildv1.BuildPodNameAnnotation] != "app-1-build" {
		t.Errorf("annotations %q", b.Annotations)
	}
	w.play("app-1", podRuns)
	w.reaches("app-1", buildv1.BuildPhaseRunning, "")
	w.play("app-1", podSucceeds)
	b := w.reaches("app-1", buildv1.BuildPhaseComplete, "")
	if b.Status.Output.To == nil || b.Status.Output.To.ImageDigest != builtDigest || b.Status.OutputDockerImageReference != "registry.example.com/team/app-1:1" {
		t.Errorf("status %+v", b.Status)
	}
	if b.Status.StartTimestamp == nil || b.Status.CompletionTimestamp == nil || b.Status.Duration != b.Status.CompletionTimestamp.Sub(b.Status.StartTimestamp.Time) {
		t.Errorf("times %v %v %v", b.Status.StartTimestamp, b.Status.CompletionTimestamp, b.Status.Duration)
	}
	w.toldOf("app-1", "BuildCompleted 1", "BuildStarted 1")
	root := "/apis/build.openshift.io/v1/namespaces/" + w.namespace + "/builds/app-1"
	status := "PUT " + root + "/status"
	if diff := cmp.Diff([]string{"POST /api/v1/namespaces/" + w.namespace + "/pods", "PATCH " + root, status, status, status}, w.objectWrites()); diff != "" {
		t.Errorf("writes (-want +have):\n%s", diff)
	}
	t.Logf("FIGURE Build: 5 writes of objects and 2 of events")
}

// TestBuildOfGit names its commit.
func TestBuildOfGit(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	b := w.newBuild("app-1")
	b.Spec.Source.Git = &buildv1.GitBuildSource{URI: "https://git.example.com/app.git"}
	w.create(b)
	w.play("app-1", func(s *corev1.PodStatus) {
		s.Phase = corev1.PodPending
		s.InitContainerStatuses = []corev1.ContainerStatus{ended("git-clone", buildreport.Report{Succeeded: true, Revision: &buildv1.SourceRevision{Type: "Git", Git: &buildv1.GitSourceRevision{Commit: "abc"}}})}
	})
	if got := w.reaches("app-1", buildv1.BuildPhaseRunning, ""); got.Spec.Revision == nil || got.Spec.Revision.Git.Commit != "abc" || got.Spec.Source.Git == nil {
		t.Errorf("spec %+v", got.Spec)
	}
	w.play("app-1", podSucceeds)
	w.reaches("app-1", buildv1.BuildPhaseComplete, "")
	// One more than without git: the commit is known long after the pod's name.
	if writes := w.objectWrites(); len(writes) != 6 {
		t.Errorf("writes %q", writes)
	}
}

// TestBuildEnds has a row for each way in which a pod may end a Build.
func TestBuildEnds(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	for name, row := range map[string]struct {
		play    func(*corev1.PodStatus)
		phase   buildv1.BuildPhase
		reason  buildv1.StatusReason
		message string
	}{
		"failing-step": {func(s *corev1.PodStatus) {
			s.Phase = corev1.PodFailed
			s.InitContainerStatuses = []corev1.ContainerStatus{ended("docker-build", buildreport.Report{Reason: "DockerBuildFailed", Message: "step 2 failed", Log: []string{"no such file"}})}
		}, "Failed", "DockerBuildFailed", "step 2 failed"},
		"failing-push": {func(s *corev1.PodStatus) {
			s.Phase = corev1.PodFailed
			s.ContainerStatuses = []corev1.ContainerStatus{ended("push", buildreport.Report{Reason: "PushImageToRegistryFailed", Message: "unauthorized", Log: []string{"no such file"}})}
		}, "Failed", "PushImageToRegistryFailed", "unauthorized"},
		"deadline": {func(s *corev1.PodStatus) {
			s.Phase, s.Reason = corev1.PodFailed, "DeadlineExceeded"
			s.InitContainerStatuses = []corev1.ContainerStatus{ended("docker-build", buildreport.Report{Reason: "DockerBuildFailed", Log: []string{"no such file"}})}
		}, "Failed", "GenericBuildFailed", "The build exceeded completionDeadlineSeconds=60."},
		"evicted": {func(s *corev1.PodStatus) {
			s.Phase, s.Reason, s.Message = corev1.PodFailed, "Evicted", "The node was low on resource: memory."
			s.InitContainerStatuses = []corev1.ContainerStatus{ended("docker-build", buildreport.Report{Reason: "X", Log: []string{"no such file"}})}
		}, "Failed", "BuildPodEvicted", "The node was low on resource: memory."},
	} {
		t.Run(name, func(t *testing.T) {
			w := *w
			w.t = t
			b := w.newBuild(name)
			deadline := int64(60)
			b.Spec.CompletionDeadlineSeconds = &deadline
			w.create(b)
			w.play(name, podRuns)
			w.reaches(name, buildv1.BuildPhaseRunning, "")
			w.play(name, row.play)
			got := w.reaches(name, row.phase, row.reason)
			if got.Status.Message != row.message || got.Status.LogSnippet != "no such file" || got.Status.CompletionTimestamp == nil {
				t.Errorf("status %+v", got.Status)
			}
			w.toldOf(name, "BuildFailed 1", "BuildStarted 1")
		})
	}
}

// TestBuildWaitsForInputs: it is New until what it names exists.
func TestBuildWaitsForInputs(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	b := w.newBuild("app-1")
	b.Spec.Source.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "input"}}}
	w.create(b)
	if got := w.reaches("app-1", buildv1.BuildPhaseNew, buildv1.StatusReasonGenericBuildFailed); got.Status.Message != "These resources do not exist: Secrets [input]" {
		t.Errorf("message %q", got.Status.Message)
	}
	_, err := w.Admin.Core.CoreV1().Secrets(w.namespace).Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "input"}}, metav1.CreateOptions{})
	must(t, err)
	if got := w.reaches("app-1", buildv1.BuildPhasePending, ""); got.Status.Message != "" {
		t.Errorf("message %q", got.Status.Message)
	}
}

// TestBuildCancel by both ways: the pod goes.
func TestBuildCancel(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	for name, cancel := range map[string][]string{
		"by-status":     {"patch", "build", "by-status", "--subresource=status", "--type=merge", "-p", `{"status":{"cancelled":true}}`},
		"by-annotation": {"annotate", "build", "by-annotation", api.AnnotationCancelBuild + "=true"},
	} {
		w.create(w.newBuild(name))
		w.play(name, podRuns)
		w.reaches(name, buildv1.BuildPhaseRunning, "")
		w.kubectl(cancel...)
		if b := w.reaches(name, buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild); !b.Status.Cancelled || b.Status.Message != "The build was cancelled by the user." {
			t.Errorf("status %+v", b.Status)
		}
		pods, err := w.Admin.Core.CoreV1().Pods(w.namespace).List(w.ctx, metav1.ListOptions{})
		must(t, err)
		for _, p := range pods.Items {
			if p.Name == name+"-build" && p.DeletionTimestamp == nil {
				t.Errorf("%s: the pod stays", name)
			}
		}
		w.toldOf(name, "BuildCancelled 1", "BuildStarted 1")
	}
}

// TestBuildPodDeleted by somebody else ends the Build.
func TestBuildPodDeleted(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	w.create(w.newBuild("app-1"))
	w.play("app-1", podRuns)
	w.reaches("app-1", buildv1.BuildPhaseRunning, "")
	w.kubectl("delete", "pod", "app-1-build", "--force", "--grace-period=0")
	w.reaches("app-1", buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodDeleted)
}

// TestBuildRefused says so in its status, and gets no pod.
func TestBuildRefused(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	b := w.newBuild("app-1")
	b.Spec.Output.To.Kind = "ImageStreamTag"
	w.create(b)
	if got := w.reaches("app-1", buildv1.BuildPhaseError, buildv1.StatusReasonInvalidOutputReference); !strings.Contains(got.Status.Message, "use kind DockerImage") {
		t.Errorf("message %q", got.Status.Message)
	}
	if writes := w.objectWrites(); len(writes) != 1 {
		t.Errorf("writes %q", writes)
	}
}

// TestBuildOfNothing: a Source strategy needs no source.
func TestBuildOfNothing(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	b := w.newBuild("app-1")
	b.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceNone}
	b.Spec.Strategy = buildv1.BuildStrategy{SourceStrategy: &buildv1.SourceBuildStrategy{From: corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/builder:1"}}}
	w.create(b)
	w.reaches("app-1", buildv1.BuildPhasePending, "")
	w.play("app-1", podSucceeds)
	w.reaches("app-1", buildv1.BuildPhaseComplete, "")
}

// TestBuildPodWebhookIsDown: a Build says what keeps its pod from being created, once,
// and goes on by itself.
func TestBuildPodWebhookIsDown(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	hooks := w.Admin.Core.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	nobody, none, fail := "https://127.0.0.1:1/", admissionregistrationv1.SideEffectClassNone, admissionregistrationv1.Fail
	_, err := hooks.Create(w.ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "pods.example.com", ClientConfig: admissionregistrationv1.WebhookClientConfig{URL: &nobody}, SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: w.namespace}},
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
				Rule:       admissionregistrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
		}},
	}, metav1.CreateOptions{})
	must(t, err)
	remove := sync.OnceFunc(func() { must(t, hooks.Delete(context.WithoutCancel(w.ctx), w.namespace, metav1.DeleteOptions{})) })
	defer remove()
	w.refusesPods()
	w.create(w.newBuild("app-1"))
	if got := w.reaches("app-1", buildv1.BuildPhaseNew, "CannotCreateBuildPod"); !strings.Contains(got.Status.Message, `failed calling webhook "pods.example.com"`) {
		t.Errorf("message %q", got.Status.Message)
	}
	remove()
	if got := w.reaches("app-1", buildv1.BuildPhasePending, ""); got.Status.Message != "" {
		t.Errorf("message %q", got.Status.Message)
	}
	w.toldOf("app-1", "FailedCreate 1")
	writes := slices.DeleteFunc(w.objectWrites(), func(write string) bool { return strings.HasPrefix(write, "POST ") })
	if len(writes) != 3 {
		t.Errorf("writes besides pods: %q", writes)
	}
}

// refusesPods waits until the API server asks the webhook for the pods of this namespace.
func (w *buildWorld) refusesPods() {
	w.t.Helper()
	eventually(w.t, settle, "pods are refused", func() error {
		_, err := w.Admin.Core.CoreV1().Pods(w.namespace).Create(w.ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "probe"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "registry.example.com/x:1"}}},
		}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsInternalError(err) {
			return fmt.Errorf("the answer is %w", err)
		}
		return nil
	})
}

// TestBuildPodRejected: a pod that the API server finds not valid ends its Build, once.
func TestBuildPodRejected(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	b := w.newBuild("app-1")
	b.Spec.NodeSelector = map[string]string{"a b": "c"}
	w.create(b)
	if got := w.reaches("app-1", buildv1.BuildPhaseFailed, "CannotCreateBuildPod"); !strings.Contains(got.Status.Message, "spec.nodeSelector") || got.Status.CompletionTimestamp == nil {
		t.Errorf("status %+v", got.Status)
	}
	w.toldOf("app-1", "BuildFailed 1", "FailedCreate 1")
	if writes := w.objectWrites(); len(writes) != 2 { // the pod that was refused, and the status
		t.Errorf("writes %q", writes)
	}
}

// TestBuildExecutorRestarts at each point of a Build's life, and goes on from there.
func TestBuildExecutorRestarts(t *testing.T) {
	w := newBuildWorld(t)
	w.create(w.newBuild("app-1"))
	steps := []struct {
		play  func(*corev1.PodStatus)
		phase buildv1.BuildPhase
	}{{nil, buildv1.BuildPhasePending}, {podRuns, buildv1.BuildPhaseRunning}, {podSucceeds, buildv1.BuildPhaseComplete}}
	for _, s := range steps {
		if s.play != nil {
			w.play("app-1", s.play) // while nobody looks
		}
		w.Start()
		w.reaches("app-1", s.phase, "")
		w.stop()
	}
	pods, err := w.Admin.Core.CoreV1().Pods(w.namespace).List(w.ctx, metav1.ListOptions{})
	must(t, err)
	if len(pods.Items) != 1 {
		t.Errorf("%d pods", len(pods.Items))
	}
}

// TestBuildsAtOnce: many Builds make as many pods, and no Build costs more for it.
func TestBuildsAtOnce(t *testing.T) {
	const many = 40
	w := newBuildWorld(t)
	w.Start()
	begin := time.Now()
	for i := range many {
		w.create(w.newBuild(fmt.Sprintf("app-%d", i)))
	}
	for i := range many {
		w.reaches(fmt.Sprintf("app-%d", i), buildv1.BuildPhasePending, "")
	}
	t.Logf("FIGURE %d Builds: pods after %.1f s", many, time.Since(begin).Seconds())
	for i := range many {
		w.play(fmt.Sprintf("app-%d", i), podSucceeds)
	}
	for i := range many {
		w.reaches(fmt.Sprintf("app-%d", i), buildv1.BuildPhaseComplete, "")
	}
	writes := w.objectWrites()
	t.Logf("FIGURE %d Builds that nobody saw run: %d writes of objects", many, len(writes))
	if len(writes) > 5*many {
		t.Errorf("%d writes for %d Builds", len(writes), many)
	}
}
