package integration

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	buildscheme "github.com/openshift/client-go/build/clientset/versioned/scheme"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/executor"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
)

const builtDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// buildWorld is a namespace of its own, in which the test plays the kubelet's part for
// the pods of Builds.
type buildWorld struct {
	t         *testing.T
	ctx       context.Context
	Admin     kube.Clients
	namespace string
	Requests  *counter
	Clock     clock.WithTicker // of the executor, when it starts
	stop      func()
}

func newBuildWorld(t *testing.T) *buildWorld {
	t.Helper()
	admin, err := kube.NewClients(plane.Config)
	must(t, err)
	w := &buildWorld{t: t, ctx: t.Context(), Admin: admin, Clock: clock.RealClock{}, stop: func() {}}
	w.waitForBuildKind()
	ns, err := admin.Core.CoreV1().Namespaces().Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "builds-"}}, metav1.CreateOptions{})
	must(t, err)
	w.namespace = ns.Name
	t.Cleanup(func() {
		w.stop()
		_ = admin.Core.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}) // nobody waits for it
	})
	return w
}

// Start runs the executor under its own ServiceAccount, with the rights of the manifests.
func (w *buildWorld) Start() {
	w.t.Helper()
	config, err := plane.ServiceAccount(w.ctx, namespace, "build-executor")
	must(w.t, err)
	w.Requests = &counter{}
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { w.Requests.next = rt; return w.Requests })
	clients, err := kube.NewClients(config)
	must(w.t, err)
	must(w.t, kube.CheckBuilds(w.ctx, clients))
	informers := kube.NewBuildInformers(clients, "")
	ctx, cancel := context.WithCancel(w.ctx)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.Core.CoreV1().Events("")})
	loop, err := executor.New(executor.Options{
		Clients: clients, Informers: informers, Clock: w.Clock,
		Recorder: broadcaster.NewRecorder(buildscheme.Scheme, corev1.EventSource{Component: "build-executor"}),
		Pod:      buildpod.BuildOptions{BuilderImage: "registry.example.com/builder:1", GitImage: "registry.example.com/builder-git:1"},
	})
	must(w.t, err)
	must(w.t, informers.Start(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		loop.Run(ctx)
		broadcaster.Shutdown()
	}()
	w.stop = func() { cancel(); <-ended; w.stop = func() {} }
}

func (w *buildWorld) newBuild(name string) *buildv1.Build {
	file := "FROM registry.example.com/base:1\n"
	b := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: name}}
	b.Spec.Source.Dockerfile = &file
	b.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{}
	b.Spec.Output.To = &corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/team/" + name + ":1"}
	return b
}

func (w *buildWorld) create(b *buildv1.Build) {
	w.t.Helper()
	_, err := w.Admin.Build.BuildV1().Builds(w.namespace).Create(w.ctx, b, metav1.CreateOptions{})
	must(w.t, err)
}

func (w *buildWorld) get(name string) *buildv1.Build {
	w.t.Helper()
	b, err := w.Admin.Build.BuildV1().Builds(w.namespace).Get(w.ctx, name, metav1.GetOptions{})
	must(w.t, err)
	return b
}

func (w *buildWorld) updateStatus(name string, change func(*buildv1.BuildStatus)) {
	w.t.Helper()
	b := w.get(name)
	change(&b.Status)
	_, err := w.Admin.Build.BuildV1().Builds(w.namespace).UpdateStatus(w.ctx, b, metav1.UpdateOptions{})
	must(w.t, err)
}

func (w *buildWorld) kubectl(args ...string) string {
	w.t.Helper()
	out, err := plane.Kubectl(w.ctx, "", append([]string{"-n", w.namespace}, args...)...)
	must(w.t, err)
	return out
}

// reaches waits until a Build has a phase and a reason.
func (w *buildWorld) reaches(name string, phase buildv1.BuildPhase, reason buildv1.StatusReason) *buildv1.Build {
	w.t.Helper()
	var b *buildv1.Build
	err := wait.PollUntilContextTimeout(w.ctx, 20*time.Millisecond, settle, true, func(ctx context.Context) (bool, error) {
		var err error
		b, err = w.Admin.Build.BuildV1().Builds(w.namespace).Get(ctx, name, metav1.GetOptions{})
		return err == nil && b.Status.Phase == phase && b.Status.Reason == reason, nil
	})
	if err != nil {
		w.t.Fatalf("Build %s is not %s (%s) but %+v", name, phase, reason, b.Status)
	}
	return b
}

// play reports a status of a Build's pod, once it exists.
func (w *buildWorld) play(build string, change func(*corev1.PodStatus)) {
	w.t.Helper()
	err := wait.PollUntilContextTimeout(w.ctx, 20*time.Millisecond, settle, true, func(ctx context.Context) (bool, error) {
		p, err := w.Admin.Core.CoreV1().Pods(w.namespace).Get(ctx, build+"-build", metav1.GetOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // not there yet
		}
		p.Status.StartTime = &metav1.Time{Time: p.CreationTimestamp.Time}
		change(&p.Status)
		_, err = w.Admin.Core.CoreV1().Pods(w.namespace).UpdateStatus(ctx, p, metav1.UpdateOptions{})
		return err == nil, nil
	})
	if err != nil {
		w.t.Fatalf("the pod of Build %s: %v; its status: %+v", build, err, w.get(build).Status)
	}
}

func podRuns(s *corev1.PodStatus) {
	s.Phase = corev1.PodPending
	s.InitContainerStatuses = []corev1.ContainerStatus{{Name: "manage-dockerfile", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
}

func podSucceeds(s *corev1.PodStatus) {
	s.Phase = corev1.PodSucceeded
	s.ContainerStatuses = []corev1.ContainerStatus{ended("push", buildreport.Report{Succeeded: true, Digest: builtDigest})}
}

func ended(container string, r buildreport.Report) corev1.ContainerStatus {
	code := int32(1)
	if r.Succeeded {
		code = 0
	}
	return corev1.ContainerStatus{Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: string(r.Encode())}}}
}

// toldOf waits for the reasons of the events on a Build, in any order.
func (w *buildWorld) toldOf(build string, want ...string) {
	w.t.Helper()
	var have []string
	err := wait.PollUntilContextTimeout(w.ctx, 20*time.Millisecond, settle, true, func(ctx context.Context) (bool, error) {
		events, err := w.Admin.Core.CoreV1().Events(w.namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Build,involvedObject.name=" + build})
		if err != nil {
			return false, err
		}
		have = nil
		for _, e := range events.Items {
			have = append(have, fmt.Sprintf("%s %d", e.Reason, max(e.Count, 1)))
		}
		slices.Sort(have)
		return slices.Equal(have, want), nil
	})
	if err != nil {
		w.t.Errorf("events %q, want %q", have, want)
	}
}

// objectWrites are the writes of the executor to this namespace that are no events.
func (w *buildWorld) objectWrites() []string {
	return slices.DeleteFunc(w.Requests.Writes(), func(write string) bool {
		return strings.Contains(write, "/events") || !strings.Contains(write, "/namespaces/"+w.namespace+"/")
	})
}
