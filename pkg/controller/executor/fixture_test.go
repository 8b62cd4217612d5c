package executor

import (
	"context"
	"sync"
	"testing"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	buildfake "github.com/openshift/client-go/build/clientset/versioned/fake"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	corefake "k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube/kubetest"
)

const (
	namespace = "team"
	key       = "team/app-1"
	podName   = "app-1-build"
	digest    = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

var begin = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// cluster is an API server. It outlives controllers.
type cluster struct {
	t     *testing.T
	core  *corefake.Clientset
	build *buildfake.Clientset
	clock *clocktesting.FakeClock

	mu sync.Mutex
	// effects are the writes so far.
	effects []string
	// fail induces an error once, by a request such as "create pods".
	fail   map[string]error
	events chan string
}

func newCluster(t *testing.T, b *buildv1.Build) *cluster {
	t.Helper()
	c := &cluster{
		t: t, core: corefake.NewClientset(), build: buildfake.NewSimpleClientset(b), clock: clocktesting.NewFakeClock(begin.Add(time.Minute)),
		fail: map[string]error{}, events: make(chan string, 100),
	}
	for _, fake := range []*clienttesting.Fake{&c.core.Fake, &c.build.Fake} {
		fake.PrependReactor("*", "*", c.react)
	}
	return c
}

func newBuild(changes ...func(*buildv1.Build)) *buildv1.Build {
	file := "FROM registry.example.com/base:1\n"
	b := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "app-1", UID: "uid-of-build", CreationTimestamp: metav1.NewTime(begin)}}
	b.Spec.Source.Dockerfile = &file
	b.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{}
	b.Spec.Output.To = &corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/team/app:1"}
	for _, change := range changes {
		change(b)
	}
	return b
}

// react takes note of writes and induces errors.
func (c *cluster) react(a clienttesting.Action) (bool, runtime.Object, error) {
	what := a.GetVerb() + " " + a.GetResource().Resource
	if a.GetSubresource() != "" {
		what += "/" + a.GetSubresource()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.fail[what]
	delete(c.fail, what)
	switch a.GetVerb() {
	case "get", "list", "watch":
	default:
		if err == nil {
			c.effects = append(c.effects, what)
		}
	}
	return err != nil, nil, err
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) now() *buildv1.Build {
	c.t.Helper()
	obj, err := c.build.Tracker().Get(buildv1.GroupVersion.WithResource("builds"), namespace, "app-1")
	c.must(err)
	b, ok := obj.(*buildv1.Build)
	if !ok {
		c.t.Fatalf("%T is no Build", obj)
	}
	return b
}

// pod is the Build's; nil when there is none.
func (c *cluster) pod() *corev1.Pod {
	obj, err := c.core.Tracker().Get(corev1.SchemeGroupVersion.WithResource("pods"), namespace, podName)
	if err != nil {
		return nil
	}
	p, ok := obj.(*corev1.Pod)
	if !ok {
		c.t.Fatalf("%T is no pod", obj)
	}
	return p
}

// play changes the pod as its kubelet does.
func (c *cluster) play(change func(*corev1.Pod)) {
	c.t.Helper()
	p := c.pod().DeepCopy()
	change(p)
	c.must(c.core.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), p, namespace))
}

func (c *cluster) told() (all []string) {
	for {
		select {
		case e := <-c.events:
			all = append(all, e)
		default:
			return all
		}
	}
}

func (c *cluster) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.effects
	c.effects = nil
	return e
}

// rig is a controller whose loop does not run.
type rig struct {
	*Controller
	cluster *cluster
}

func (c *cluster) start() *rig {
	c.t.Helper()
	clients := kube.Clients{Core: c.core, Build: c.build}
	watches := kubetest.Count(&c.core.Fake, &c.build.Fake)
	informers := kube.NewBuildInformers(clients, "")
	r := &rig{cluster: c}
	var err error
	r.Controller, err = New(Options{
		Clients: clients, Informers: informers, Clock: c.clock, Recorder: &record.FakeRecorder{Events: c.events},
		Pod: buildpod.BuildOptions{BuilderImage: "registry.example.com/builder:1", GitImage: "registry.example.com/builder-git:1"},
	})
	c.must(err)
	ctx, stop := context.WithCancel(c.t.Context())
	c.t.Cleanup(stop)
	c.must(informers.Start(ctx))
	watches.Wait(c.t, 2)
	return r
}

// round syncs once, from a cache that shows everything.
func (r *rig) round() (time.Duration, error) {
	r.cluster.t.Helper()
	err := wait.PollUntilContextTimeout(r.cluster.t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		b, err := r.Informers.BuildLister.Builds(namespace).Get("app-1")
		if have := r.cluster.now(); err != nil || !equality.Semantic.DeepEqual(b.Annotations, have.Annotations) || !kube.Ended(b) && !equality.Semantic.DeepEqual(b.Spec, have.Spec) || !equality.Semantic.DeepEqual(b.Status, have.Status) {
			return false, nil //nolint:nilerr // not there yet
		}
		cached, err := r.Informers.PodLister.Pods(namespace).Get(podName)
		have := r.cluster.pod()
		if have == nil || have.Labels[buildv1.BuildLabel] == "" {
			return err != nil, nil
		}
		return err == nil && equality.Semantic.DeepEqual(cached.Status, have.Status), nil
	})
	if err != nil {
		r.cluster.t.Fatalf("the caches do not show what there is: %v", err)
	}
	return r.sync(r.cluster.t.Context(), key)
}

// rest does rounds until one writes nothing; errors are tried again, at most a few times.
func (r *rig) rest() {
	r.cluster.t.Helper()
	for range 20 {
		before := len(r.cluster.effects)
		if _, err := r.round(); err == nil && len(r.cluster.effects) == before {
			return
		}
	}
	r.cluster.t.Fatal("it does not come to rest")
}
