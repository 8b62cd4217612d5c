package controller

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
)

// patience bounds the wait for what must happen.
const patience = 10 * time.Second

func receive(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case key := <-from:
		return key
	case <-time.After(patience):
		t.Fatal("no sync")
		return ""
	}
}

// TestRunnerTriesAgain: after an error, a conflict, or as long as a sync asks for.
func TestRunnerTriesAgain(t *testing.T) {
	syncs := make(chan string)
	outcomes := []struct {
		after time.Duration
		err   error
	}{
		{0, errors.New("induced")},
		{0, apierrors.NewConflict(schema.GroupResource{}, "x", nil)},
		{time.Millisecond, nil},
		{0, nil},
	}
	n := 0
	r := NewRunner("again", clock.RealClock{}, func(_ context.Context, key string) (time.Duration, error) {
		o := outcomes[n]
		n++
		syncs <- key
		return o.after, o.err
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx, 1) }()
	r.Enqueue("key")
	for range outcomes {
		if got := receive(t, syncs); got != "key" {
			t.Errorf("sync of %q", got)
		}
	}
	stop()
	<-done
}

// TestRunnerWaitsForSyncs: Run ends only after the syncs that are under way.
func TestRunnerWaitsForSyncs(t *testing.T) {
	begun, finish := make(chan string), make(chan struct{})
	r := NewRunner("waits", clock.RealClock{}, func(_ context.Context, key string) (time.Duration, error) {
		begun <- key
		<-finish
		return 0, nil
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan string, 1)
	go func() { r.Run(ctx, 2); done <- "ended" }()
	r.Enqueue("key")
	receive(t, begun)
	stop()
	select {
	case <-done:
		t.Fatal("Run ended during a sync")
	case <-time.After(20 * time.Millisecond):
	}
	close(finish)
	receive(t, done)
}

// TestRunnerKeepsAKeyToOneWorker: the same key is never synced twice at once.
func TestRunnerKeepsAKeyToOneWorker(t *testing.T) {
	begun, finish := make(chan string), make(chan struct{})
	r := NewRunner("once", clock.RealClock{}, func(_ context.Context, key string) (time.Duration, error) {
		begun <- key
		<-finish
		return 0, nil
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx, 4) }()
	r.Enqueue("a")
	receive(t, begun)
	r.Enqueue("a")
	r.Enqueue("b")
	if got := receive(t, begun); got != "b" {
		t.Errorf("%q is synced beside itself", got)
	}
	close(finish)
	if got := receive(t, begun); got != "a" {
		t.Errorf("then %q, want a again", got)
	}
	stop()
	<-done
}
