package osbuild

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/fake"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// unseen is a back-end whose cache shows no run.
type unseen struct {
	*fake.Backend
	// failed is when its runs failed; zero if they did not.
	failed time.Time
}

func (b unseen) List(ctx context.Context, pool string, live bool) ([]backend.Observation, error) {
	if !live {
		return nil, nil
	}
	builds, err := b.Backend.List(ctx, pool, live)
	for i := range builds {
		if !b.failed.IsZero() && builds[i].UID != "" {
			builds[i].Phase, builds[i].Finished = backend.PhaseFailed, b.failed
		}
	}
	return builds, err
}

// TestS23RunThatNobodySaw: a run that is deleted before any watch has shown it
// is missed after a while, and another one starts.
func TestS23RunThatNobodySaw(t *testing.T) {
	r := newFixture().start(t)
	r.Backend = unseen{Backend: r.backend}
	after, err := r.settle("worker")
	if err != nil || after != unseenPoll || !slices.Contains(r.written(), startIt) || !r.queue.holds("worker") {
		t.Fatalf("after the start the pool is looked at in %v, %v", after, err)
	}
	list, err := r.backend.List(t.Context(), "worker", true)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d runs, %v", len(list), err)
	}
	if err := r.backend.Remove(t.Context(), list[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.settle("worker"); err != nil || !slices.Contains(r.written(), startIt) {
		t.Errorf("no other run is started, %v", err)
	}
}

// TestS23FailureThatNobodySaw: a run that fails and is deleted before any watch
// has shown it is known by live reads alone; the next try needs no event of it.
func TestS23FailureThatNobodySaw(t *testing.T) {
	r := newFixture().start(t)
	r.Backend = unseen{Backend: r.backend}
	if _, err := r.settle("worker"); err != nil || !slices.Contains(r.written(), startIt) {
		t.Fatalf("no run is started, %v", err)
	}
	r.Backend = unseen{Backend: r.backend, failed: now.Add(-time.Hour)}
	after, err := r.sync(t.Context(), "worker")
	if err != nil || !slices.Contains(r.written(), "delete-run "+config) || after == 0 {
		t.Fatalf("after the run is deleted the pool is looked at in %v, %v", after, err)
	}
	r.caughtUp()
	if _, err = r.settle("worker"); err != nil || !slices.Contains(r.written(), startIt) {
		t.Errorf("there is no next try, %v", err)
	}
}

// waiting is a pool whose status tells its place.
func waiting(name string, since time.Time, told int) *mcfgv1.MachineConfigPool {
	p := newPool(name)
	p.Status.Conditions = []mcfgv1.MachineConfigPoolCondition{{
		Type: mcfgv1.MachineConfigPoolBuildPending, Status: corev1.ConditionTrue, Reason: api.ReasonWaitingForSlot,
		LastTransitionTime: metav1.NewTime(now),
		Message: fmt.Sprintf("as many builds run as maxConcurrentBuilds=1 allows; number %d or better in the queue since %s",
			told, since.Format("2006-01-02T15:04:05.000Z07:00")),
	}}
	return p
}

// active is a back-end's word on which pools have an active run.
func active(pools ...string) func() []string { return func() []string { return pools } }

func TestQueueOrder(t *testing.T) {
	q := newQueue()
	for i, p := range []*mcfgv1.MachineConfigPool{
		waiting("late", now.Add(time.Minute), 3), waiting("b", now, 2), waiting("a", now, 1),
	} {
		if !q.take(p) || q.take(p) {
			t.Errorf("pool %d is news twice, or never", i)
		}
	}
	if got := q.slots("late", 2, active("x", "late")); got != (osbuild.Slots{Limit: 2, Busy: 1, Ahead: 2}) {
		t.Errorf("the last has %+v", got)
	}
	if got := q.slots("new", 2, active()); got != (osbuild.Slots{Limit: 2, Ahead: 3}) {
		t.Errorf("one that comes now has %+v", got)
	}
	if got := q.due(2, active()); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("with two free slots %q are woken", got)
	}
	if got := q.due(1, active("x")); len(got) > 0 {
		t.Errorf("with no free slot %q are woken", got)
	}
	q.drop("a")
	if got := q.due(1, active()); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after the first left, %q are woken", got)
	}
	q.take(waiting("late", now.Add(time.Minute), 20))
	if got := q.due(1, active("x")); !slices.Equal(got, []string{"late"}) {
		t.Errorf("%q hear their place, which is far from what they were told", got)
	}
	out := waiting("b", now, 2)
	delete(out.Labels, api.LabelLayeringEnabled)
	if !q.take(out) || q.take(out) {
		t.Error("a pool that opted out stays in the queue")
	}
}

// TestS06SlotOfAnUnseenRun: between the start of a run and its coming into the
// cache nobody else gets its slot.
func TestS06SlotOfAnUnseenRun(t *testing.T) {
	q := newQueue()
	const first, second = types.UID("run-1"), types.UID("run-2")
	if _, ok := q.reserve("a", 1, active()); !ok {
		t.Fatal("the one slot is not given")
	}
	if s, ok := q.reserve("b", 1, active()); ok {
		t.Fatalf("it is given twice: %+v", s)
	}
	q.seen("a", first) // of an earlier run of the pool
	q.started("a", second)
	q.seen("a", first)
	if s := q.slots("b", 1, active()); s.Free() {
		t.Errorf("the slot is free before the cache shows its run: %+v", s)
	}
	if s := q.slots("b", 2, active("a")); s.Busy != 1 {
		t.Errorf("a run that is both reserved and seen counts as %d", s.Busy)
	}
	if s := q.slots("a", 1, active()); !s.Free() {
		t.Errorf("a pool's own slot is in its way: %+v", s)
	}
	q.seen("a", second)
	if q.holds("a") || q.slots("b", 1, active("a")).Free() || !q.slots("b", 1, active()).Free() {
		t.Error("what the cache shows is not what counts")
	}
	if q.release("a") {
		t.Error("a slot is given back twice")
	}
}

// shown is a back-end whose cache comes to show a run of another pool right after it was
// asked for the active ones: at once, or after the lock of the queue if that is held.
type shown struct {
	*fake.Backend
	queue *queue
	// show makes the cache show the run and tells of it; once.
	show    func()
	running sync.WaitGroup
}

func (b *shown) Active() []string {
	before, show := b.Backend.Active(), b.show
	b.show = nil
	switch {
	case show == nil:
	case b.queue.mu.TryLock():
		b.queue.mu.Unlock()
		show()
	default:
		b.running.Go(show)
	}
	return before
}

// TestS06RunThatIsShownMeanwhile: a run that comes into the cache while another pool
// asks for a slot counts, as reserved or as active.
func TestS06RunThatIsShownMeanwhile(t *testing.T) {
	for name, free := range map[string]func(*rig, *view) bool{
		"when a slot is taken": func(r *rig, v *view) bool {
			return r.startable(t.Context(), v).Starts() || r.queue.holds("worker")
		},
		"when slots are counted": func(r *rig, _ *view) bool {
			v, err := r.observe(t.Context(), "worker", false)
			return err != nil || v.observed.Slots.Free()
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture()
			f.maps[0].Data[api.KeyMaxConcurrentBuilds] = "1"
			r := f.start(t)
			v, err := r.observe(t.Context(), "worker", true)
			if err != nil {
				t.Fatal(err)
			}
			r.answered(v)
			if v, err = r.observe(t.Context(), "worker", true); err != nil || !v.plan().Starts() {
				t.Fatalf("the pool does not start, %v", err)
			}
			if _, ok := r.queue.reserve("other", 1, r.backend.Active); !ok {
				t.Fatal("the other pool gets no slot")
			}
			r.queue.started("other", "run-of-other")
			backend := &shown{Backend: r.backend, queue: r.queue, show: func() {
				r.backend.Put(backend.Observation{
					Pool: buildspec.Pool{Name: "other"}, RenderedConfig: "rendered-other-a", UID: "run-of-other", Phase: backend.PhaseRunning,
				})
			}}
			r.Backend = backend
			if free(r, v) {
				t.Error("the one slot is there for two")
			}
			backend.running.Wait()
			if r.queue.holds("other") || !slices.Equal(backend.Active(), []string{"other"}) {
				t.Error("the run was not shown")
			}
		})
	}
}
