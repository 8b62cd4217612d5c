package measure

import (
	"context"
	"fmt"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// Mark is a moment of a build, as a watch sees it come.
type Mark string

// The moments, in their order.
const (
	PodCreated Mark = "pod created"
	Scheduled  Mark = "scheduled"
	Running    Mark = "first container runs"
	PodEnded   Mark = "pod ended"
	Annotated  Mark = "annotated"
)

// timeline takes the time of what the API server tells of one pool's build. A
// moment counts when its event arrives: timestamps in objects have whole
// seconds only.
type timeline struct {
	pool, config string
	// before is the image that the pool has already; empty for none.
	before string

	mu    sync.Mutex
	marks map[Mark]time.Time
	pod   *corev1.Pod
	image string
	// ended tells of the annotation, or of why it will not come.
	ended chan error
	// created tells of the pod, once.
	created chan *corev1.Pod
}

// follow begins a timeline that goes on until the context ends. The pool must
// exist and no build of it; before is the image that it has, if it has one. The selector
// is of the build's pods.
func follow(ctx context.Context, c *live.Cluster, selector, pool, config, before string) (*timeline, error) {
	t := &timeline{
		pool: pool, config: config, before: before, marks: map[Mark]time.Time{},
		ended: make(chan error, 1), created: make(chan *corev1.Pod, 1),
	}
	podClient := c.Clients.Core.CoreV1().Pods(live.Namespace)
	podOptions := metav1.ListOptions{LabelSelector: selector}
	pods, err := podClient.List(ctx, podOptions)
	if err != nil {
		return nil, fmt.Errorf("listing build pods: %w", err)
	}
	podOptions.ResourceVersion = pods.ResourceVersion
	podEvents, err := podClient.Watch(ctx, podOptions)
	if err != nil {
		return nil, fmt.Errorf("watching build pods: %w", err)
	}
	poolOptions := metav1.ListOptions{FieldSelector: "metadata.name=" + pool}
	poolEvents, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Watch(ctx, poolOptions)
	if err != nil {
		podEvents.Stop()
		return nil, fmt.Errorf("watching pool %q: %w", pool, err)
	}
	go t.read(podEvents, func(event watch.Event, now time.Time) {
		if pod, ok := event.Object.(*corev1.Pod); ok && event.Type != watch.Deleted {
			t.podEvent(pod, now)
		}
	})
	go t.read(poolEvents, func(event watch.Event, now time.Time) {
		if p, ok := event.Object.(*mcfgv1.MachineConfigPool); ok {
			t.poolEvent(p, now)
		}
	})
	return t, nil
}

func (t *timeline) read(events watch.Interface, take func(watch.Event, time.Time)) {
	defer events.Stop()
	for event := range events.ResultChan() {
		now := time.Now()
		t.mu.Lock()
		take(event, now)
		t.mu.Unlock()
	}
}

func (t *timeline) mark(m Mark, now time.Time) {
	if _, have := t.marks[m]; !have {
		t.marks[m] = now
	}
}

func (t *timeline) podEvent(pod *corev1.Pod, now time.Time) {
	if t.pod == nil {
		t.created <- pod
	}
	t.pod = pod
	t.mark(PodCreated, now)
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionTrue {
			t.mark(Scheduled, now)
		}
	}
	for _, status := range live.Containers(pod) {
		if status.State.Running != nil || status.State.Terminated != nil {
			t.mark(Running, now)
		}
	}
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		t.mark(PodEnded, now)
	}
}

func (t *timeline) poolEvent(pool *mcfgv1.MachineConfigPool, now time.Time) {
	if message, failed := live.True(pool, mcfgv1.MachineConfigPoolBuildFailed); failed {
		t.end(fmt.Errorf("building for pool %q: %w: %s", t.pool, live.ErrBuildFailed, message))
		return
	}
	image := pool.Annotations[api.AnnotationNewestImage]
	if image != t.before && pool.Annotations[api.AnnotationImageConfig] == t.config {
		t.mark(Annotated, now)
		t.image = image
		t.end(nil)
	}
}

func (t *timeline) end(err error) {
	select {
	case t.ended <- err:
	default:
	}
}
