package controller

import (
	"context"
	"errors"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Backoff of a key whose sync failed.
const (
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = time.Minute
)

// Sync brings one key's world closer to what it should be. It returns when to
// look again although nothing changed (0: never), or an error to be retried
// with backoff.
type Sync func(ctx context.Context, key string) (requeueAfter time.Duration, err error)

// Runner runs a loop.
type Runner struct {
	name  string
	sync  Sync
	queue workqueue.TypedRateLimitingInterface[string]
}

// NewRunner makes a loop whose delays pass by a clock; the name is that of its
// queue in logs and metrics.
func NewRunner(name string, clock clock.WithTicker, sync Sync) *Runner {
	return &Runner{
		name: name, sync: sync,
		queue: workqueue.NewTypedRateLimitingQueueWithConfig(
			workqueue.NewTypedItemExponentialFailureRateLimiter[string](firstBackoff, mostBackoff),
			workqueue.TypedRateLimitingQueueConfig[string]{Name: name, Clock: clock}),
	}
}

// Enqueue asks for a sync of a key.
func (r *Runner) Enqueue(key string) { r.queue.Add(key) }

// EnqueueAfter asks for a sync of a key some time from now.
func (r *Runner) EnqueueAfter(key string, d time.Duration) { r.queue.AddAfter(key, d) }

// Run works until the context ends, then waits for the syncs that are under way.
func (r *Runner) Run(ctx context.Context, workers int) {
	ctx = klog.NewContext(ctx, klog.FromContext(ctx).WithName(r.name))
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for r.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	r.queue.ShutDown()
	wg.Wait()
}

func (r *Runner) next(ctx context.Context) bool {
	key, shutdown := r.queue.Get()
	if shutdown {
		return false
	}
	defer r.queue.Done(key)
	log := klog.FromContext(ctx).WithValues("key", key)
	after, err := r.sync(klog.NewContext(ctx, log), key)
	switch {
	case err == nil:
		r.queue.Forget(key)
		if after > 0 {
			r.queue.AddAfter(key, after)
		}
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		// The next process starts from what it finds.
	case apierrors.IsConflict(err):
		log.V(2).Info("Trying again from a fresh read", "cause", err.Error())
		r.queue.AddRateLimited(key)
	default:
		log.Error(err, "Sync failed, it will be retried")
		r.queue.AddRateLimited(key)
	}
	return true
}
