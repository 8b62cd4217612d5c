package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
)

// build is what watches told of the one build of a pool.
type build struct {
	labelled, created, annotated time.Time
	// runs are the pods made for it, image is what the pool was annotated with.
	runs  []*corev1.Pod
	image string
}

// builds follows all pools by watches of its own: events come in the order in
// which the API server made them, so that no two builds at once are missed.
type builds struct {
	limit int

	mu      sync.Mutex
	pools   map[string]*build
	order   []string // of the pods' creation
	live    map[types.UID]bool
	most    int
	objects map[string]bool // pods and inputs that exist
	moved   time.Time       // when anything last happened
	wrong   error
}

func newBuilds(limit int) *builds {
	return &builds{limit: limit, pools: map[string]*build{}, live: map[types.UID]bool{}, objects: map[string]bool{}}
}

// source is one of the watches.
type source struct {
	what     string
	selector string
	open     func(context.Context, metav1.ListOptions) (watch.Interface, error)
	take     func(watch.EventType, runtime.Object, time.Time)
	// version is that of the last event.
	version string
}

// follow begins to watch; there must be no build object yet.
func follow(ctx context.Context, c kube.Clients, limit int) (*builds, error) {
	b := newBuilds(limit)
	inputs := c.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(api.DefaultNamespace)
	return b, b.readAll(ctx, []*source{
		{what: "build pods", selector: api.LabelBuildPod, open: c.Core.CoreV1().Pods(api.DefaultNamespace).Watch, take: b.podEvent},
		{what: "build inputs", selector: labels.Set{api.LabelRole: api.RoleInput}.String(), open: inputs.Watch, take: b.inputEvent},
		{what: "pools", open: c.MachineConfig.MachineconfigurationV1().MachineConfigPools().Watch, take: b.poolEvent},
	})
}

// readAll begins all watches before it returns.
func (b *builds) readAll(ctx context.Context, sources []*source) error {
	for _, s := range sources {
		events, err := s.begin(ctx)
		if err != nil {
			return err
		}
		go b.read(ctx, s, events)
	}
	return nil
}

func (s *source) begin(ctx context.Context) (watch.Interface, error) {
	events, err := s.open(ctx, metav1.ListOptions{LabelSelector: s.selector, ResourceVersion: s.version})
	if err != nil {
		return nil, fmt.Errorf("watching %s: %w", s.what, err)
	}
	return events, nil
}

// read takes the events until the context ends. A watch that ends early, as the
// API server lets it with readers that are slow, goes on where it was.
func (b *builds) read(ctx context.Context, s *source, events watch.Interface) {
	for {
		for event := range events.ResultChan() {
			b.event(s, event)
		}
		if ctx.Err() != nil {
			return
		}
		err := poll(ctx, s.what+" are watched again", func() (err error) {
			events, err = s.begin(ctx)
			return err
		})
		if err != nil {
			b.mu.Lock()
			b.fail(err)
			b.mu.Unlock()
			return
		}
	}
}

func (b *builds) event(s *source, event watch.Event) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.moved = now
	if event.Type == watch.Error {
		// A connection that was lost is made anew; events that are lost are not to be had.
		if err := apierrors.FromObject(event.Object); apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
			b.fail(fmt.Errorf("watching %s: %w", s.what, err))
		}
		return
	}
	m, err := meta.Accessor(event.Object)
	if err != nil {
		b.fail(fmt.Errorf("watching %s: %w", s.what, err))
		return
	}
	s.version = m.GetResourceVersion()
	s.take(event.Type, event.Object, now)
}

func (b *builds) fail(err error) {
	if b.wrong == nil {
		b.wrong = err
	}
}

// of returns what is known of a pool's build.
func (b *builds) of(pool string) *build {
	if b.pools[pool] == nil {
		b.pools[pool] = &build{}
	}
	return b.pools[pool]
}

func (b *builds) podEvent(kind watch.EventType, obj runtime.Object, now time.Time) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	b.exists(kind, "pod/"+pod.Name)
	pool := pod.Annotations[api.AnnotationPool]
	known := b.of(pool)
	if !slices.ContainsFunc(known.runs, func(r *corev1.Pod) bool { return r.UID == pod.UID }) {
		known.runs = append(known.runs, pod)
		known.created = now
		b.order = append(b.order, pool)
		if len(known.runs) > 1 {
			b.fail(fmt.Errorf("pool %q was built %d times", pool, len(known.runs)))
		}
	}
	if kind == watch.Deleted || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		delete(b.live, pod.UID)
		return
	}
	b.live[pod.UID] = true
	b.most = max(b.most, len(b.live))
	if len(b.live) > b.limit {
		b.fail(fmt.Errorf("%d builds run at once, the limit is %d", len(b.live), b.limit))
	}
}

func (b *builds) inputEvent(kind watch.EventType, obj runtime.Object, _ time.Time) {
	m, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	b.exists(kind, "configmap/"+m.Name)
}

func (b *builds) exists(kind watch.EventType, name string) {
	if kind == watch.Deleted {
		delete(b.objects, name)
		return
	}
	b.objects[name] = true
}

func (b *builds) poolEvent(_ watch.EventType, obj runtime.Object, now time.Time) {
	pool, ok := obj.(*mcfgv1.MachineConfigPool)
	if !ok {
		return
	}
	for _, c := range pool.Status.Conditions {
		if c.Type == mcfgv1.MachineConfigPoolBuildFailed && c.Status == corev1.ConditionTrue {
			b.fail(fmt.Errorf("the build of pool %q failed: %s: %s", pool.Name, c.Reason, c.Message))
		}
	}
	image := pool.Annotations[api.AnnotationNewestImage]
	if image == "" || pool.Annotations[api.AnnotationImageConfig] != pool.Spec.Configuration.Name {
		return
	}
	known := b.of(pool.Name)
	if known.image == "" {
		known.annotated = now
	}
	if known.image != "" && known.image != image {
		b.fail(fmt.Errorf("the image of pool %q changed from %s to %s", pool.Name, known.image, image))
	}
	known.image = image
}

// label takes the time at which a pool is opted in.
func (b *builds) label(pool string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of(pool).labelled = time.Now()
}

// stall is how long nothing at all may happen before the bench gives up.
const stall = 3 * time.Minute

// wait waits until a condition holds, which is looked at under the lock.
func (b *builds) wait(ctx context.Context, what string, holds func() bool) error {
	begin := time.Now()
	for ticker := time.NewTicker(10 * time.Millisecond); ; {
		b.mu.Lock()
		done, wrong, moved := holds(), b.wrong, b.moved
		b.mu.Unlock()
		switch {
		case wrong != nil:
			return wrong
		case done:
			return nil
		case time.Since(moved) > stall && time.Since(begin) > stall:
			return fmt.Errorf("waiting until %s: nothing has happened for %s", what, stall)
		}
		select {
		case <-ctx.Done():
			ticker.Stop()
			return fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// built waits until the pools have their images and nothing else is left.
func (b *builds) built(ctx context.Context, pools []string) error {
	left := slices.Clone(pools)
	return b.wait(ctx, fmt.Sprintf("%d pools are built", len(pools)), func() bool {
		left = slices.DeleteFunc(left, func(p string) bool { return b.of(p).image != "" })
		return len(left) == 0 && len(b.objects) == 0
	})
}

// seconds takes a time of each of the pools' builds.
func (b *builds) seconds(pools []string, value func(*build) time.Duration) []float64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []float64
	for _, p := range pools {
		all = append(all, value(b.of(p)).Seconds())
	}
	return all
}

// span is from the first label to the last annotation.
func (b *builds) span(pools []string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first, last time.Time
	for i, p := range pools {
		known := b.of(p)
		if i == 0 || known.labelled.Before(first) {
			first = known.labelled
		}
		if known.annotated.After(last) {
			last = known.annotated
		}
	}
	return last.Sub(first)
}

// poll waits until a check has no error.
func poll(ctx context.Context, what string, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	for ticker := time.NewTicker(20 * time.Millisecond); ; {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			ticker.Stop()
			return fmt.Errorf("waiting until %s: %w", what, err)
		case <-ticker.C:
		}
	}
}

// fast is a connection without a limit of the client's own.
func fast(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.QPS = -1
	return c
}
