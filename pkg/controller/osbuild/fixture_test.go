package osbuild

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgfake "github.com/openshift/client-go/machineconfiguration/clientset/versioned/fake"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	corefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/fake"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube/kubetest"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

const (
	namespace  = "builds"
	config     = "rendered-worker-a"
	repository = "registry.example.com/os/images"
	digest     = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	image      = repository + "@" + digest
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is the cluster of a row before the sync.
type fixture struct {
	pools    []*mcfgv1.MachineConfigPool
	maps     []*corev1.ConfigMap
	secrets  []*corev1.Secret
	builds   []backend.Observation
	registry func(pullspec string) (registry.Info, error)
	// fail induces errors: by a write, or a read, as it stands in writes.
	fail map[string]error
	// live are what reads from the API server give instead of what is cached.
	live *mcfgv1.MachineConfigPool
}

func newFixture() *fixture {
	return &fixture{
		pools: []*mcfgv1.MachineConfigPool{newPool("worker")},
		maps: []*corev1.ConfigMap{
			setting(api.ConfigMapBuildConfig, api.KeyFinalImagePullspec, repository),
			setting(api.ConfigMapOSImageURL, api.KeyBaseOSContainerImage, "registry.example.com/os/base:1"),
		},
		registry: func(pullspec string) (registry.Info, error) {
			return registry.Info{}, &registry.Error{Class: registry.ErrNotFound, Reference: pullspec}
		},
		fail: map[string]error{},
	}
}

func newPool(name string) *mcfgv1.MachineConfigPool {
	p := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: "pool-1", ResourceVersion: "7", Labels: map[string]string{api.LabelLayeringEnabled: ""}, Annotations: map[string]string{"theirs": "stays"},
	}}
	p.Spec.Configuration.Name = "rendered-" + name + "-a"
	p.Status.Conditions = []mcfgv1.MachineConfigPoolCondition{{Type: mcfgv1.MachineConfigPoolNodeDegraded, Status: corev1.ConditionFalse, Reason: "Theirs"}}
	return p
}

func setting(name string, pairs ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		cm.Data[pairs[i]] = pairs[i+1]
	}
	return cm
}

// rig is a controller over fake clients; its loop does not run.
type rig struct {
	*Controller
	t       *testing.T
	backend *fake.Backend
	events  chan string
	mu      sync.Mutex
	writes  []string
	asked   *registry.Question
}

func (f *fixture) start(t *testing.T) *rig {
	t.Helper()
	r, inspect := &rig{t: t, backend: &fake.Backend{}}, f.registry
	var core, machineConfig, metadata []runtime.Object
	for _, p := range f.pools {
		machineConfig = append(machineConfig, p)
		mc := &mcfgv1.MachineConfig{
			TypeMeta:   metav1.TypeMeta{APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfig"},
			ObjectMeta: metav1.ObjectMeta{Name: p.Spec.Configuration.Name, ResourceVersion: "3", UID: "config-1", Generation: 1},
			Spec:       mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: []byte(`{"ignition":{"version":"3.4.0"}}`)}},
		}
		machineConfig = append(machineConfig, mc)
		metadata = append(metadata, &metav1.PartialObjectMetadata{TypeMeta: mc.TypeMeta, ObjectMeta: mc.ObjectMeta})
	}
	for _, cm := range f.maps {
		core = append(core, cm)
	}
	for _, s := range f.secrets {
		core = append(core, s)
	}
	for _, b := range f.builds {
		r.backend.Put(b)
	}
	coreClient, mcClient := corefake.NewClientset(core...), mcfgfake.NewSimpleClientset(machineConfig...)
	coreClient.PrependReactor("*", "*", r.reactor(f))
	mcClient.PrependReactor("*", "*", r.reactor(f))
	if f.live != nil {
		mcClient.PrependReactor("get", "machineconfigpools", func(clienttesting.Action) (bool, runtime.Object, error) { return true, f.live, nil })
	}
	r.backend.Fail = func(call string) error { return r.write(f, call) }
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	metadataClient := metadatafake.NewSimpleMetadataClient(scheme, metadata...)
	clients := kube.Clients{Core: coreClient, MachineConfig: mcClient, Metadata: metadataClient}
	watches := kubetest.Count(&coreClient.Fake, &mcClient.Fake, &metadataClient.Fake)
	informers, err := kube.NewInformers(clients, namespace)
	if err != nil {
		t.Fatal(err)
	}
	recorder := record.NewFakeRecorder(20)
	r.events = recorder.Events
	r.Controller, err = New(Options{
		Clients: clients, Informers: informers, Backend: r.backend, Namespace: namespace, BuilderImage: "registry.example.com/builder:1",
		Recorder: recorder, Metrics: metrics.NewBuilds(prometheus.NewRegistry()), Clock: clocktesting.NewFakeClock(now),
		Inspect: func(_ context.Context, q registry.Question) (registry.Info, error) {
			r.mu.Lock()
			r.asked = &q
			r.mu.Unlock()
			return inspect(q.Pullspec)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { r.checker.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	if err := informers.Start(ctx); err != nil {
		t.Fatal(err)
	}
	watches.Wait(t, kubetest.Watched)
	return r
}

// describe is what a request is called in the rows.
func describe(a clienttesting.Action) string {
	what := a.GetVerb() + " " + a.GetResource().Resource
	if sub := a.GetSubresource(); sub != "" {
		what += "/" + sub
	}
	name := ""
	switch a := a.(type) {
	case clienttesting.CreateAction: // an update is one as well
		if m, ok := a.GetObject().(metav1.Object); ok {
			name = m.GetName()
		}
	case interface{ GetName() string }:
		name = a.GetName()
	}
	return what + " " + name
}

// reactor takes note of writes and induces errors.
func (r *rig) reactor(f *fixture) clienttesting.ReactionFunc {
	return func(a clienttesting.Action) (bool, runtime.Object, error) {
		what := describe(a)
		if slices.Contains([]string{"get", "list", "watch"}, a.GetVerb()) {
			return f.fail[what] != nil, nil, f.fail[what]
		}
		err := r.write(f, what)
		return err != nil, nil, err
	}
}

func (r *rig) write(f *fixture, what string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes = append(r.writes, what)
	return f.fail[what]
}

// settle syncs once and, when that had to ask the registry, once more with the
// answer. It fails the test when an object of the caches was changed.
func (r *rig) settle(pool string) (time.Duration, error) {
	r.t.Helper()
	unchanged := r.freeze()
	after, err := r.sync(r.t.Context(), pool)
	v, observeErr := r.observe(r.t.Context(), pool, false)
	if err == nil && observeErr == nil && v != nil && osbuild.Question(v.desired, v.observed, v.now) != "" {
		r.answered(v)
		after, err = r.sync(r.t.Context(), pool)
	}
	unchanged()
	return after, err
}

// caughtUp waits until the cache shows the records as they were written. On a
// real API server no object of a build is seen to go before its record is seen.
func (r *rig) caughtUp() {
	r.t.Helper()
	err := wait.PollUntilContextTimeout(r.t.Context(), time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		records, err := r.Clients.Core.CoreV1().ConfigMaps(r.Namespace).List(ctx, metav1.ListOptions{LabelSelector: api.LabelRole + "=" + api.RoleRecord})
		if err != nil {
			return false, err
		}
		for _, record := range records.Items {
			cached, err := r.Informers.BuildMapLister.ConfigMaps(r.Namespace).Get(record.Name)
			if err != nil || cached.Data[api.KeyRecord] != record.Data[api.KeyRecord] {
				return false, nil //nolint:nilerr // not there yet
			}
		}
		return true, nil
	})
	if err != nil {
		r.t.Fatalf("the cache does not show the records: %v", err)
	}
}

// answered waits until the registry's answer is there, or the caches show that
// none is needed any more.
func (r *rig) answered(v *view) {
	r.t.Helper()
	err := wait.PollUntilContextTimeout(r.t.Context(), time.Millisecond, 10*time.Second, true, func(ctx context.Context) (bool, error) {
		again, err := r.observe(ctx, v.pool.Name, false)
		if err != nil {
			return false, err
		}
		needless := osbuild.Question(again.desired, again.observed, again.now) == ""
		return needless || again.observed.Registry != nil, nil
	})
	if err != nil {
		r.t.Fatalf("the registry was not asked: %v", err)
	}
}

// freeze remembers what the caches hold; the function returned compares.
func (r *rig) freeze() func() {
	var objects, copies []runtime.Object
	for _, informer := range append([]cache.SharedIndexInformer{
		r.Informers.Pools, r.Informers.Configs, r.Informers.Pods, r.Informers.BuildMaps,
	}, r.Informers.Settings[api.ConfigMapBuildConfig], r.Informers.Settings[api.ConfigMapOSImageURL]) {
		for _, obj := range informer.GetStore().List() {
			o, ok := obj.(runtime.Object)
			if !ok {
				r.t.Fatalf("the cache holds a %T", obj)
			}
			objects, copies = append(objects, o), append(copies, o.DeepCopyObject())
		}
	}
	return func() {
		r.t.Helper()
		for i, o := range objects {
			if !reflect.DeepEqual(o, copies[i]) {
				r.t.Errorf("a cached %T was changed", o)
			}
		}
	}
}

func (r *rig) written() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.writes
	r.writes = nil
	return w
}

// told returns the reasons of the events so far.
func (r *rig) told() string {
	var reasons []string
	for {
		select {
		case e := <-r.events:
			reasons = append(reasons, strings.Fields(e)[1])
		default:
			return strings.Join(reasons, " ")
		}
	}
}

// wakes has the keys that are enqueued from now on come out of a channel, in place of
// being synced.
func (r *rig) wakes() <-chan string {
	woken := make(chan string)
	ctx, stop := context.WithCancel(r.t.Context())
	r.runner = controller.NewRunner("test", clock.RealClock{}, func(ctx context.Context, key string) (time.Duration, error) {
		select {
		case woken <- key:
		case <-ctx.Done():
		}
		return 0, nil
	})
	ended := make(chan struct{})
	go func() { defer close(ended); r.runner.Run(ctx, 1) }()
	r.t.Cleanup(func() { stop(); <-ended })
	return woken
}

// verdict reads the pool's true build conditions from the API server.
func (r *rig) verdict(pool string) string {
	r.t.Helper()
	obj, err := r.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().List(r.t.Context(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, p := range obj.Items {
		if p.Name == pool {
			return strings.Join(summary(p.Status.Conditions), " ")
		}
	}
	return "no pool"
}

// desired is what a fixture's pool should have.
func (f *fixture) desired(t *testing.T) osbuild.Desired {
	t.Helper()
	v, err := f.start(t).observe(t.Context(), "worker", false)
	if err != nil || v.desired.Request == nil {
		t.Fatalf("no request: %v", errors.Join(err, fmt.Errorf("%+v", v)))
	}
	return v.desired
}
