package retention

import (
	"context"
	"fmt"
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
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	corefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube/kubetest"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

const (
	namespace  = "builds"
	repository = "registry.example.com/os/images"
	grace      = 10 * time.Minute
)

var begin = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func imageOf(letter string) string { return repository + "@sha256:" + letter }

func configOf(pool, letter string) string { return "rendered-" + pool + "-" + letter }

// cluster is an API server with a registry. It outlives controllers.
type cluster struct {
	t        *testing.T
	core     *corefake.Clientset
	mc       *mcfgfake.Clientset
	metadata *metadatafake.FakeMetadataClient
	clock    *clocktesting.FakeClock

	mu sync.Mutex
	// effects are the writes and deletions so far, reads the live reads.
	effects, reads []string
	// fail induces errors, by a request as it stands in effects or reads.
	fail map[string]error
	// registry answers a deletion.
	registry func(image string) error
	events   chan string
	// killAfter is after which effect the controller is dead; 0 for never.
	killAfter int
}

// newCluster has one pool, named worker, that has built the configs of some
// letters, one an hour, and is settled on the last one.
func newCluster(t *testing.T, letters string) *cluster {
	t.Helper()
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := &cluster{
		t: t, core: corefake.NewClientset(), mc: mcfgfake.NewSimpleClientset(), metadata: metadatafake.NewSimpleMetadataClient(scheme),
		clock: clocktesting.NewFakeClock(begin), fail: map[string]error{}, events: make(chan string, 100),
		registry: func(string) error { return nil },
	}
	c.settings(api.KeyFinalImagePullspec, repository)
	c.addPool("worker", letters)
	for _, fake := range []*clienttesting.Fake{&c.core.Fake, &c.mc.Fake, &c.metadata.Fake} {
		fake.PrependReactor("*", "*", c.react)
	}
	return c
}

func (c *cluster) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) settings(pairs ...string) {
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.ConfigMapBuildConfig}, Data: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		cm.Data[pairs[i]] = pairs[i+1]
	}
	c.must(c.core.Tracker().Add(cm))
}

func (c *cluster) addPool(name, letters string) {
	p := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: types.UID("uid-of-" + name), Labels: map[string]string{api.LabelLayeringEnabled: ""}, Annotations: map[string]string{},
	}}
	p.Status.Conditions = []mcfgv1.MachineConfigPoolCondition{{Type: mcfgv1.MachineConfigPoolBuildSuccess, Status: corev1.ConditionTrue}}
	for n, letter := range strings.Split(letters, "") {
		config := configOf(name, letter)
		p.Spec.Configuration.Name = config
		p.Annotations[api.AnnotationNewestImage], p.Annotations[api.AnnotationImageConfig] = imageOf(letter), config
		c.must(c.core.Tracker().Add(c.recordMap(osbuild.Record{
			Pool: buildspec.Pool{Name: name, UID: p.UID}, RenderedConfig: config, Outcome: osbuild.Succeeded, Image: imageOf(letter),
			Finished: begin.Add(time.Duration(n-len(letters)) * time.Hour),
		})))
	}
	c.must(c.mc.Tracker().Add(p))
}

func (c *cluster) recordMap(r osbuild.Record) *corev1.ConfigMap {
	c.t.Helper()
	data, err := r.Encode()
	c.must(err)
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: names.Record(r.RenderedConfig), UID: types.UID("uid-of-" + r.RenderedConfig),
			Labels:      map[string]string{api.LabelBuildPod: "", api.LabelRole: api.RoleRecord, api.LabelTargetPool: r.Pool.Name},
			Annotations: map[string]string{api.AnnotationPool: r.Pool.Name, api.AnnotationPoolUID: string(r.Pool.UID), api.AnnotationRenderedConfig: r.RenderedConfig},
		},
		Data: map[string]string{api.KeyRecord: string(data), api.KeyLog: "the log"},
	}
}

func (c *cluster) addNode(annotation, image string) {
	c.must(c.metadata.Tracker().Add(&metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: metav1.ObjectMeta{Name: "node", Annotations: map[string]string{annotation: image}},
	}))
}

func (c *cluster) removeNode() {
	c.must(c.metadata.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("nodes"), "", "node"))
}

// changePool writes a pool as others do.
func (c *cluster) changePool(name string, change func(*mcfgv1.MachineConfigPool)) {
	c.t.Helper()
	gvr := mcfgv1.GroupVersion.WithResource("machineconfigpools")
	obj, err := c.mc.Tracker().Get(gvr, "", name)
	c.must(err)
	p, ok := obj.DeepCopyObject().(*mcfgv1.MachineConfigPool)
	if !ok {
		c.t.Fatalf("%T is no pool", obj)
	}
	change(p)
	c.must(c.mc.Tracker().Update(gvr, p, ""))
}

func (c *cluster) changeRecord(letter string, change func(*osbuild.Record)) {
	c.t.Helper()
	gvr := corev1.SchemeGroupVersion.WithResource("configmaps")
	obj, err := c.core.Tracker().Get(gvr, namespace, names.Record(configOf("worker", letter)))
	c.must(err)
	m, ok := obj.DeepCopyObject().(*corev1.ConfigMap)
	if !ok {
		c.t.Fatalf("%T is no ConfigMap", obj)
	}
	r, err := osbuild.ParseRecord([]byte(m.Data[api.KeyRecord]))
	c.must(err)
	change(&r)
	data, err := r.Encode()
	c.must(err)
	m.Data[api.KeyRecord] = string(data)
	c.must(c.core.Tracker().Update(gvr, m, namespace))
}

// mark marks the own images of letters.
func (c *cluster) mark(since time.Time, letters string) {
	for _, letter := range strings.Split(letters, "") {
		c.changeRecord(letter, func(r *osbuild.Record) { r.UnneededSince = since })
	}
}

// records lists the records that are left: letter, mark, superseded images.
func (c *cluster) records() string {
	c.t.Helper()
	maps := c.maps()
	var out []string
	for _, m := range maps {
		r, err := osbuild.ParseRecord([]byte(m.Data[api.KeyRecord]))
		c.must(err)
		text := r.RenderedConfig[len(r.RenderedConfig)-1:]
		if !r.UnneededSince.IsZero() {
			text += "!"
		}
		for _, s := range r.Superseded {
			if text += "-" + strings.TrimPrefix(s.Image, imageOf("")); !s.UnneededSince.IsZero() {
				text += "!"
			}
		}
		if m.Data[api.KeyLog] != "the log" {
			text += " without its log"
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

func (c *cluster) maps() []corev1.ConfigMap {
	c.t.Helper()
	obj, err := c.core.Tracker().List(corev1.SchemeGroupVersion.WithResource("configmaps"), corev1.SchemeGroupVersion.WithKind("ConfigMap"), namespace)
	c.must(err)
	list, ok := obj.(*corev1.ConfigMapList)
	if !ok {
		c.t.Fatalf("%T is no list", obj)
	}
	return slices.DeleteFunc(list.Items, func(m corev1.ConfigMap) bool { return m.Labels[api.LabelRole] != api.RoleRecord })
}

// react takes note of requests, induces errors, and is silent to the dead.
func (c *cluster) react(a clienttesting.Action) (bool, runtime.Object, error) {
	what := a.GetVerb() + " " + a.GetResource().Resource
	switch a := a.(type) {
	case clienttesting.CreateAction: // an update is one as well
		if m, ok := a.GetObject().(metav1.Object); ok {
			what += " " + m.GetName()
		}
	case interface{ GetName() string }:
		what += " " + a.GetName()
	}
	switch a.GetVerb() {
	case "watch":
		return false, nil, nil
	case "get", "list":
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reads = append(c.reads, what)
		return c.fail[what] != nil, nil, c.fail[what]
	}
	err := c.effect(what)
	return err != nil, nil, err
}

// effect is something that lasts.
func (c *cluster) effect(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.killAfter > 0 && len(c.effects) >= c.killAfter {
		return context.Canceled
	}
	c.effects = append(c.effects, what)
	return c.fail[what]
}

// took returns the effects since the last call.
func (c *cluster) took() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.effects
	c.effects, c.reads = nil, nil
	return e
}

// listed is how often the nodes were listed since took was called.
func (c *cluster) listed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.reads {
		if r == "list nodes" {
			n++
		}
	}
	return n
}

func (c *cluster) told() []string {
	var told []string
	for {
		select {
		case e := <-c.events:
			told = append(told, e)
		default:
			return told
		}
	}
}

// rig is a controller of a cluster; its loop does not run.
type rig struct {
	*Controller
	cluster *cluster
	stop    context.CancelFunc
}

func (c *cluster) start() *rig {
	c.t.Helper()
	clients := kube.Clients{Core: c.core, MachineConfig: c.mc, Metadata: c.metadata}
	informers, err := kube.NewInformers(clients, namespace)
	c.must(err)
	watches := kubetest.Count(&c.core.Fake, &c.mc.Fake, &c.metadata.Fake)
	r := &rig{cluster: c}
	r.Controller, err = New(Options{
		Clients: clients, Informers: informers, Namespace: namespace, Clock: c.clock,
		Recorder: &record.FakeRecorder{Events: c.events}, Metrics: metrics.NewImages(prometheus.NewRegistry()),
		Delete: func(_ context.Context, image string, _ kube.RegistryAccess) error {
			if err := c.effect("DELETE " + image); err != nil {
				return err
			}
			return c.registry(image)
		},
	})
	c.must(err)
	var ctx context.Context
	ctx, r.stop = context.WithCancel(c.t.Context())
	c.t.Cleanup(r.stop)
	c.must(informers.Start(ctx))
	watches.Wait(c.t, kubetest.Watched)
	return r
}

// round syncs a pool once, from a cache that shows everything, and waits for
// the deletion that this started.
func (r *rig) round(pool string) (time.Duration, error) {
	r.cluster.t.Helper()
	r.caughtUp()
	after, err := r.sync(r.cluster.t.Context(), pool)
	r.deletions.wait()
	r.caughtUp()
	return after, err
}

// rest does rounds until one changes nothing; it fails the test for an error.
func (r *rig) rest(pool string) time.Duration {
	r.cluster.t.Helper()
	for range 100 {
		before := r.cluster.state()
		_, underWay := r.deletions.of(pool)
		after, err := r.round(pool)
		r.cluster.must(err)
		if _, still := r.deletions.of(pool); !underWay && !still && r.cluster.state() == before {
			return after
		}
	}
	r.cluster.t.Fatal("it does not come to rest")
	return 0
}

func (c *cluster) state() string {
	c.mu.Lock()
	n := len(c.effects)
	c.mu.Unlock()
	return fmt.Sprint(c.records(), n)
}

// caughtUp waits until the caches show what the API server has.
func (r *rig) caughtUp() {
	r.cluster.t.Helper()
	err := wait.PollUntilContextTimeout(r.cluster.t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		// The watch of a fake knows no selectors.
		have, err := r.Informers.BuildMapLister.List(labels.SelectorFromSet(labels.Set{api.LabelRole: api.RoleRecord}))
		if err != nil {
			return false, err
		}
		maps := r.cluster.maps()
		for _, m := range maps {
			cached, err := r.Informers.BuildMapLister.ConfigMaps(namespace).Get(m.Name)
			if err != nil || cached.Data[api.KeyRecord] != m.Data[api.KeyRecord] {
				return false, nil //nolint:nilerr // not there yet
			}
		}
		pools, err := r.cluster.mc.Tracker().List(mcfgv1.GroupVersion.WithResource("machineconfigpools"), mcfgv1.GroupVersion.WithKind("MachineConfigPool"), "")
		if err != nil {
			return false, err
		}
		list, ok := pools.(*mcfgv1.MachineConfigPoolList)
		if !ok {
			return false, fmt.Errorf("%T is no list", pools)
		}
		for i := range list.Items {
			cached, err := r.Informers.PoolLister.Get(list.Items[i].Name)
			if err != nil || fmt.Sprint(cached.Annotations, cached.Spec, cached.Status, cached.Labels) !=
				fmt.Sprint(list.Items[i].Annotations, list.Items[i].Spec, list.Items[i].Status, list.Items[i].Labels) {
				return false, nil //nolint:nilerr // not there yet
			}
		}
		return len(have) == len(maps), nil
	})
	if err != nil {
		r.cluster.t.Fatalf("the caches do not show what there is: %v", err)
	}
}

func failure(class error, status int) error {
	return &registry.Error{Class: class, Op: "deleting", Reference: repository, Status: status}
}
