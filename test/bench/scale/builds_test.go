package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

func podOf(pool string, uid types.UID, phase corev1.PodPhase) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "build-" + pool, UID: uid, Annotations: map[string]string{api.AnnotationPool: pool}},
		Status:     corev1.PodStatus{Phase: phase},
	}
}

func poolWith(name, image string) *mcfgv1.MachineConfigPool {
	p := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{
		api.AnnotationNewestImage: image, api.AnnotationImageConfig: "rendered-" + name,
	}}}
	p.Spec.Configuration.Name = "rendered-" + name
	return p
}

func TestBuildsAreWatched(t *testing.T) {
	failed := poolWith("a", "")
	failed.Status.Conditions = []mcfgv1.MachineConfigPoolCondition{{Type: mcfgv1.MachineConfigPoolBuildFailed, Status: corev1.ConditionTrue, Reason: "Why"}}
	foreign := poolWith("a", "image-1")
	foreign.Annotations[api.AnnotationImageConfig] = "rendered-a-before"
	type step struct {
		kind watch.EventType
		obj  runtime.Object
	}
	for name, row := range map[string]struct {
		steps []step
		wrong string // in the error; empty for none
		built bool
	}{
		"as it should be": {[]step{
			{watch.Added, podOf("a", "1", corev1.PodPending)},
			{watch.Modified, podOf("a", "1", corev1.PodSucceeded)},
			{watch.Added, podOf("b", "2", corev1.PodPending)},
			{watch.Modified, poolWith("a", "image-1")},
			{watch.Deleted, podOf("a", "1", corev1.PodSucceeded)},
			{watch.Modified, podOf("b", "2", corev1.PodSucceeded)},
			{watch.Deleted, podOf("b", "2", corev1.PodSucceeded)},
		}, "", true},
		"the pod is still there": {[]step{
			{watch.Added, podOf("a", "1", corev1.PodSucceeded)}, {watch.Modified, poolWith("a", "image-1")},
		}, "", false},
		"an image of another config": {[]step{{watch.Modified, foreign}}, "", false},
		"two at once": {[]step{
			{watch.Added, podOf("a", "1", corev1.PodPending)}, {watch.Added, podOf("b", "2", corev1.PodRunning)},
		}, "2 builds run at once, the limit is 1", false},
		"built twice": {[]step{
			{watch.Added, podOf("a", "1", corev1.PodSucceeded)},
			{watch.Added, podOf("a", "1", corev1.PodPending)},
			{watch.Deleted, podOf("a", "1", corev1.PodPending)},
			{watch.Added, podOf("a", "2", corev1.PodPending)},
		}, `pool "a" was built 2 times`, false},
		"another image": {[]step{
			{watch.Modified, poolWith("a", "image-1")}, {watch.Modified, poolWith("a", "image-2")},
		}, "changed from image-1 to image-2", true},
		"a failure": {[]step{{watch.Modified, failed}}, "failed: Why", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuilds(1)
			for _, s := range row.steps {
				take := b.poolEvent
				if _, ok := s.obj.(*corev1.Pod); ok {
					take = b.podEvent
				}
				b.event(&source{take: take}, watch.Event{Type: s.kind, Object: s.obj})
			}
			if row.wrong == "" && b.wrong != nil || row.wrong != "" && (b.wrong == nil || !strings.Contains(b.wrong.Error(), row.wrong)) {
				t.Errorf("error %v, want %q", b.wrong, row.wrong)
			}
			if built := b.of("a").image != "" && len(b.objects) == 0; built != row.built {
				t.Errorf("built: %t, want %t", built, row.built)
			}
		})
	}
}

func TestOvertaken(t *testing.T) {
	begin := time.Now()
	w := &world{builds: newBuilds(1)}
	for pool, after := range map[string]time.Duration{"a": 0, "b": time.Second, "c": 5 * time.Second, "d": 9 * time.Second} {
		w.of(pool).labelled = begin.Add(after)
	}
	for _, row := range []struct {
		order string
		want  int
	}{{"a b c d", 0}, {"b a c d", 0}, {"c a b d", 1}, {"d c b a", 2}, {"b c d a", 2}} {
		w.order = strings.Fields(row.order)
		if got := w.overtaken(); got != row.want {
			t.Errorf("order %s: %d, want %d", row.order, got, row.want)
		}
	}
}

// TestWatchGoesOn: the API server may end a watch at any time.
func TestWatchGoesOn(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, second := watch.NewFake(), watch.NewFake()
	versions := make(chan string, 1)
	b := newBuilds(1)
	s := &source{take: b.poolEvent, open: func(_ context.Context, o metav1.ListOptions) (watch.Interface, error) {
		versions <- o.ResourceVersion
		return second, nil
	}}
	go b.read(ctx, s, first)
	pool := poolWith("a", "image-1")
	pool.ResourceVersion = "7"
	first.Modify(pool)
	first.Error(&apierrors.NewInternalError(errors.New("connection lost")).ErrStatus)
	first.Stop()
	if got := <-versions; got != "7" {
		t.Errorf("goes on from %q, want 7", got)
	}
	second.Modify(poolWith("b", "image-2"))
	second.Error(&apierrors.NewResourceExpired("too old").ErrStatus)
	err := b.wait(ctx, "it ends", func() bool { return false })
	if !apierrors.IsResourceExpired(err) {
		t.Errorf("events were lost: error %v", err)
	}
	if b.of("a").image == "" || b.of("b").image == "" {
		t.Error("an event was lost")
	}
}
