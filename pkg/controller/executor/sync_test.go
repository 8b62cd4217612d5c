package executor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
)

func running(p *corev1.Pod) {
	p.Status.Phase, p.Status.StartTime = corev1.PodPending, &metav1.Time{Time: begin.Add(time.Second)}
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "manage-dockerfile", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
}

func succeeded(p *corev1.Pod) {
	p.Status.Phase = corev1.PodSucceeded
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "push", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Message: string(buildreport.Report{Succeeded: true, Digest: digest}.Encode()),
	}}}}
}

func withGit(b *buildv1.Build) {
	b.Spec.Source.Git = &buildv1.GitBuildSource{URI: "https://git.example.com/app.git"}
}

func fetched(p *corev1.Pod) {
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "git-clone", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Message: string(buildreport.Report{Succeeded: true, Revision: &buildv1.SourceRevision{Type: "Git", Git: &buildv1.GitSourceRevision{Commit: "abc"}}}.Encode()),
	}}}}
}

// whole runs a Build to its end and returns what was written.
func (c *cluster) whole() []string {
	c.t.Helper()
	r := c.start()
	r.rest()
	if c.pod() == nil {
		c.t.Fatalf("no pod; the Build's status is %+v", c.now().Status)
	}
	c.play(running)
	r.rest()
	if c.now().Spec.Source.Git != nil {
		c.play(fetched)
	}
	c.play(succeeded)
	r.rest()
	return c.took()
}

func TestHappyPath(t *testing.T) {
	c := newCluster(t, newBuild())
	if got, want := c.whole(), []string{"create pods", "patch builds", "update builds/status", "update builds/status", "update builds/status"}; !slices.Equal(got, want) {
		t.Errorf("writes %q, want %q", got, want)
	}
	if s := c.now().Status; s.Phase != "Complete" || s.Output.To.ImageDigest != digest || s.OutputDockerImageReference != "registry.example.com/team/app:1" {
		t.Errorf("status %+v", s)
	}
	if got := c.now().Annotations["openshift.io/build.pod-name"]; got != podName {
		t.Errorf("the Build names the pod %q", got)
	}
	if got := strings.Join(c.told(), "|"); got != "Normal BuildStarted Build team/app-1 is now running|Normal BuildCompleted Build team/app-1 completed successfully" {
		t.Errorf("events %q", got)
	}
}

func TestRevisionIsWritten(t *testing.T) {
	c := newCluster(t, newBuild(withGit))
	// The pod's name is known when the pod is, the revision only when that has run.
	if got := c.whole(); len(got) > 6 {
		t.Errorf("writes %q", got)
	}
	if b := c.now(); b.Spec.Revision == nil || b.Spec.Revision.Git.Commit != "abc" || b.Status.Phase != "Complete" || b.Annotations["openshift.io/build.pod-name"] != podName {
		t.Errorf("revision %+v, status %+v", b.Spec.Revision, b.Status)
	}
}

// TestFaults: whichever request fails once, the end is the same.
func TestFaults(t *testing.T) {
	broken := apierrors.NewInternalError(errors.New("induced"))
	conflict := apierrors.NewConflict(schema.GroupResource{}, "app-1", nil)
	timeout := apierrors.NewServerTimeout(schema.GroupResource{}, "create", 1)
	for _, request := range []string{"get builds", "get configmaps", "get secrets", "create pods", "get pods", "update builds/status", "patch builds"} {
		for name, err := range map[string]error{"500": broken, "conflict": conflict, "timeout": timeout} {
			t.Run(request+" "+name, func(t *testing.T) {
				c := newCluster(t, newBuild(withGit, func(b *buildv1.Build) { b.Spec.Output.PushSecret = &corev1.LocalObjectReference{Name: "push"} }))
				c.must(c.core.Tracker().Add(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "push"}}))
				c.fail[request] = err
				c.whole()
				if b := c.now(); b.Status.Phase != "Complete" || b.Spec.Revision == nil {
					t.Errorf("status %+v", b.Status)
				}
				want := 2
				if request == "create pods" && name == "500" {
					want = 3 // FailedCreate
				}
				if events := c.told(); len(events) != want {
					t.Errorf("events %q", events)
				}
				if left := c.fail[request]; left != nil && request != "get pods" {
					t.Errorf("no %s was made", request)
				}
			})
		}
	}
}

// TestRestart: whenever a controller dies, another goes on from there.
func TestRestart(t *testing.T) {
	plays := []func(*corev1.Pod){running, succeeded}
	for rounds := range 4 { // of the controller that dies
		c := newCluster(t, newBuild())
		dead := c.start()
		for i := range rounds {
			if _, err := dead.round(); err != nil {
				t.Fatal(err)
			}
			if i < len(plays) {
				c.play(plays[i])
			}
		}
		r := c.start()
		r.rest()
		for i := rounds; i < len(plays); i++ {
			c.play(plays[i])
			r.rest()
		}
		if s := c.now().Status; s.Phase != "Complete" || s.Output.To.ImageDigest != digest {
			t.Errorf("after %d rounds: status %+v", rounds, s)
		}
		if got := c.took(); len(got) > 5 || got[0] != "create pods" || slices.Contains(got[1:], "create pods") {
			t.Errorf("after %d rounds: writes %q", rounds, got)
		}
	}
}

func TestCancel(t *testing.T) {
	c := newCluster(t, newBuild())
	r := c.start()
	r.rest()
	c.play(running)
	r.rest()
	b := c.now().DeepCopy()
	b.Status.Cancelled = true
	c.must(c.build.Tracker().Update(buildv1.GroupVersion.WithResource("builds"), b, namespace))
	c.took()
	c.fail["update builds/status"] = apierrors.NewInternalError(errors.New("induced"))
	r.rest()
	if got := c.took(); !slices.Equal(got, []string{"delete pods", "update builds/status"}) || c.pod() != nil {
		t.Errorf("writes %q", got)
	}
	if s := c.now().Status; s.Phase != "Cancelled" || s.Reason != "CancelledBuild" {
		t.Errorf("status %+v", s)
	}
}

// TestCancelledMeanwhile: a cache that lags makes no pod for a Build that has ended.
func TestCancelledMeanwhile(t *testing.T) {
	c := newCluster(t, newBuild())
	r := c.start()
	stale := c.now().DeepCopy()
	b := stale.DeepCopy()
	b.Status.Phase = buildv1.BuildPhaseCancelled
	c.must(c.build.Tracker().Update(buildv1.GroupVersion.WithResource("builds"), b, namespace))
	if _, err := r.round(); err != nil {
		t.Fatal(err)
	}
	c.must(r.Informers.Builds.GetStore().Update(stale))
	if _, err := r.sync(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if got := c.took(); len(got) > 0 {
		t.Errorf("writes %q", got)
	}
}

// TestBegunMeanwhile: a cache that lags behind both the Build and its pod takes neither
// for lost.
func TestBegunMeanwhile(t *testing.T) {
	c := newCluster(t, newBuild())
	r := c.start()
	stale := c.now().DeepCopy()
	if _, err := r.round(); err != nil {
		t.Fatal(err)
	}
	c.took()
	r.rest()
	c.must(r.Informers.Builds.GetStore().Update(stale))
	c.must(r.Informers.Pods.GetStore().Delete(c.pod()))
	if _, err := r.sync(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if s := c.now().Status; s.Phase != "Pending" || len(c.took()) > 0 {
		t.Errorf("status %+v", s)
	}
}

// TestForeignPod is in the way, without the label that would show it to the watch.
func TestForeignPod(t *testing.T) {
	c := newCluster(t, newBuild())
	c.must(c.core.Tracker().Add(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: podName, UID: "other", OwnerReferences: []metav1.OwnerReference{{UID: "earlier"}}}}))
	r := c.start()
	if after, err := r.round(); err != nil || after == 0 || c.now().Status.Phase != "New" {
		t.Errorf("after %v, error %v, status %+v", after, err, c.now().Status)
	}
	c.clock.SetTime(begin.Add(3 * time.Minute))
	r.rest()
	if s := c.now().Status; s.Phase != "Error" || s.Reason != "BuildPodExists" {
		t.Errorf("status %+v", s)
	}
}

// TestRefused: while somebody forbids the pod the Build stays New, and says why.
func TestRefused(t *testing.T) {
	for text, refusal := range map[string]error{
		"exceeded quota": apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, podName, errors.New("exceeded quota")),
		// as the API server tells of a webhook that is to be asked and does not answer
		"failed calling webhook": apierrors.NewInternalError(errors.New(`failed calling webhook "pods.example.com": failed to call webhook: Post "https://pods.example.svc:443/": connection refused`)),
		"space exceeded":         &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: "etcdserver: mvcc: database space exceeded"}},
		// as the API server tells of a webhook that gives no reason
		"denied the request": &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusBadRequest, Message: "admission webhook denied the request"}},
	} {
		t.Run(text, func(t *testing.T) {
			c := newCluster(t, newBuild())
			r := c.start()
			for range 2 {
				c.fail["create pods"] = refusal
				if _, err := r.round(); err == nil {
					t.Fatal("it is not tried again")
				}
			}
			if s := c.now().Status; s.Phase != "New" || s.Reason != "CannotCreateBuildPod" || !strings.Contains(s.Message, text) {
				t.Errorf("status %+v", s)
			}
			if events := c.told(); len(events) != 1 || !strings.HasPrefix(events[0], "Warning FailedCreate ") {
				t.Errorf("events %q", events)
			}
			r.rest()
			if s := c.now().Status; s.Phase != "Pending" || s.Reason != "" || s.Message != "" {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// TestPassing: of what passes by itself nobody is told.
func TestPassing(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, passing := range map[string]error{
		"timeout":           apierrors.NewTimeoutError("it took too long", 1),
		"server timeout":    apierrors.NewServerTimeout(pods, "create", 1),
		"too many requests": apierrors.NewTooManyRequests("slow down", 1),
		"unavailable":       apierrors.NewServiceUnavailable("starting"),
		"conflict":          apierrors.NewConflict(schema.GroupResource{Resource: "resourcequotas"}, "few", errors.New("the object has been modified")),
		"connection":        &url.Error{Op: "Post", URL: "https://10.0.0.1:6443/", Err: errors.New("connection refused")},
		"stopped":           context.Canceled,
		"deadline":          fmt.Errorf("client rate limiter: %w", context.DeadlineExceeded),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, newBuild())
			r := c.start()
			c.fail["create pods"] = passing
			if _, err := r.round(); !errors.Is(err, passing) {
				t.Fatalf("error %v", err)
			}
			if got, events := c.took(), c.told(); len(got) > 0 || len(events) > 0 || c.now().Status.Phase != "" {
				t.Errorf("writes %q, events %q", got, events)
			}
			r.rest()
			if s := c.now().Status; s.Phase != "Pending" {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// TestRejected: what is not valid stays so.
func TestRejected(t *testing.T) {
	for name, rejection := range map[string]error{
		"invalid": apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, podName, field.ErrorList{field.Invalid(field.NewPath("spec", "nodeSelector"), "a b", "no label")}),
		"bad":     apierrors.NewBadRequest("no such field"),
		"large":   apierrors.NewRequestEntityTooLargeError("limit is 3145728"),
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, newBuild())
			r := c.start()
			c.fail["create pods"] = rejection
			r.rest()
			s := c.now().Status
			if s.Phase != "Failed" || s.Reason != "CannotCreateBuildPod" || s.Message != "Failed creating build pod: "+rejection.Error() || s.CompletionTimestamp == nil {
				t.Errorf("status %+v", s)
			}
			if events := c.told(); len(events) != 2 || !strings.HasPrefix(events[0], "Warning FailedCreate ") || !strings.Contains(events[1], "BuildFailed") {
				t.Errorf("events %q", events)
			}
			if got := c.took(); !slices.Equal(got, []string{"update builds/status"}) || c.pod() != nil {
				t.Errorf("writes %q", got)
			}
		})
	}
}

func TestTooLong(t *testing.T) {
	c := newCluster(t, newBuild(func(b *buildv1.Build) { b.Annotations = map[string]string{"a": strings.Repeat("x", 128<<10)} }))
	c.start().rest()
	if s := c.now().Status; s.Phase != "Error" || s.Reason != "CannotCreateBuildPodSpec" || c.pod() != nil {
		t.Errorf("status %+v", s)
	}
}

func TestGoneBuild(t *testing.T) {
	c := newCluster(t, newBuild())
	r := c.start()
	for _, key := range []string{"team/other", "no/such/key"} {
		if after, err := r.sync(t.Context(), key); after != 0 || err != nil {
			t.Errorf("%s: after %v, error %v", key, after, err)
		}
	}
	c.must(c.build.Tracker().Delete(buildv1.GroupVersion.WithResource("builds"), namespace, "app-1"))
	c.fail["get builds"] = apierrors.NewNotFound(schema.GroupResource{}, "app-1")
	if _, err := r.sync(t.Context(), key); err != nil || len(c.took()) > 0 {
		t.Errorf("error %v", err)
	}
}
