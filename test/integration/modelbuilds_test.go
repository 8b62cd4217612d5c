package integration

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/executor"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// executor returns what runs the Builds of the batch until a context ends: the real
// loop with its own rights, by the batch's clock. Nothing disturbs it: what does is
// the affair of its own tests.
func (b *batch) executor(ctx context.Context) func() {
	b.t.Helper()
	config, err := plane.ServiceAccount(ctx, namespace, "build-executor")
	must(b.t, err)
	config = rest.CopyConfig(config)
	config.QPS, config.Burst = b.config.QPS, b.config.Burst
	w := &wire{
		clock: b.clock,
		around: func(_ *http.Request, _ string, send func() (*http.Response, error)) (*http.Response, error) {
			return send()
		},
		lag:   func() time.Duration { return 0 },
		twice: func() bool { return false },
	}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { w.next = next; return w })
	clients, err := kube.NewClients(config)
	must(b.t, err)
	informers := kube.NewBuildInformers(clients, namespace)
	loop, err := executor.New(executor.Options{
		Clients: clients, Informers: informers, Clock: b.clock, Recorder: &record.FakeRecorder{},
		Pod: buildpod.BuildOptions{BuilderImage: "registry.example.com/builder:1", GitImage: "registry.example.com/builder-git:1"},
	})
	must(b.t, err)
	return func() {
		if informers.Start(ctx) == nil {
			loop.Run(ctx)
		}
	}
}

// interruptions are the reasons of runs that are not the fault of what they build.
var interruptions = []string{"Evicted", string(buildv1.StatusReasonBuildPodEvicted), string(buildv1.StatusReasonBuildPodDeleted)}

// buildSeen looks at a Build that is a run.
func (m *monitor) buildSeen(before, after *buildv1.Build) {
	b := cmp.Or(after, before)
	phase := corev1.PodFailed
	switch b.Status.Phase {
	case "", buildv1.BuildPhaseNew, buildv1.BuildPhasePending:
		phase = corev1.PodPending
	case buildv1.BuildPhaseRunning:
		phase = corev1.PodRunning
	case buildv1.BuildPhaseComplete:
		phase = corev1.PodSucceeded
	case buildv1.BuildPhaseCancelled:
		m.mu.Lock()
		m.cancelled[b.UID] = true
		m.mu.Unlock()
	default:
	}
	m.seen(b.ObjectMeta, after == nil, phase, string(b.Status.Reason))
}

// wasCancelled is true for a Build that was seen to be.
func (m *monitor) wasCancelled(run types.UID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cancelled[run]
}

// runOf is the UID of the run that a pod is, or is of.
func runOf(pod *corev1.Pod) types.UID {
	if owner := metav1.GetControllerOf(pod); owner != nil && owner.Kind == "Build" {
		return owner.UID
	}
	return pod.UID
}

// cancelBuilds does what "oc cancel-build" does.
func (p *subject) cancelBuilds() error {
	for uid := range p.monitor.runsOf(p.name) {
		patch := fmt.Appendf(nil, `{"metadata":{"uid":%q},"status":{"cancelled":true}}`, uid)
		_, err := p.admin.Build.BuildV1().Builds(namespace).Patch(p.ctx, names.Build(p.monitor.configOf(uid)), types.MergePatchType, patch, metav1.PatchOptions{}, "status")
		if err := ignoreGone(err); err != nil {
			return err
		}
	}
	return nil
}

// podsGone: the pods of Builds go with them, but those of nodes that are lost.
func (b *batch) podsGone() {
	var left []string
	for deadline := time.Now().Add(modelPatience); b.ctx.Err() == nil && time.Now().Before(deadline); pause(b.ctx, 50*time.Millisecond) {
		pods, err := b.admin.Core.CoreV1().Pods(namespace).List(b.ctx, metav1.ListOptions{LabelSelector: buildv1.BuildLabel})
		must(b.t, err)
		left = nil
		for i := range pods.Items {
			if p := &pods.Items[i]; !b.monitor.stuck(p) {
				left = append(left, p.Name)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	for _, name := range left {
		b.monitor.violate(poolName.FindString(name), "its Builds are gone, but pod/%s is there", name)
	}
}

// stuck is true for a pod that never goes by itself, or of another batch.
func (m *monitor) stuck(pod *corev1.Pod) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	script, known := m.scripts[runOf(pod)]
	return script.Stuck || !known
}
