package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// checkerFixture runs a Checker whose answers the test gives.
type checkerFixture struct {
	*registry.Checker
	clock    *clocktesting.FakePassiveClock
	asked    chan registry.Question
	answers  chan error
	notified chan string
}

func newChecker(t *testing.T, workers int) *checkerFixture {
	f := &checkerFixture{
		clock: clocktesting.NewFakePassiveClock(time.Unix(1000, 0)), asked: make(chan registry.Question, 100),
		answers: make(chan error), notified: make(chan string, 100),
	}
	f.Checker = registry.NewChecker(registry.CheckerOptions{
		Workers: workers, MaxAge: time.Minute, ErrorAge: time.Second, Clock: f.clock,
		Notify: func(key string) { f.notified <- key },
		Inspect: func(ctx context.Context, q registry.Question) (registry.Info, error) {
			f.asked <- q
			select {
			case err := <-f.answers:
				return registry.Info{Digest: "of " + q.Pullspec}, err
			case <-ctx.Done():
				return registry.Info{}, ctx.Err()
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return f
}

// confirm asks unless it was asked already; false while there is no answer.
func (f *checkerFixture) confirm(key string, q registry.Question) (registry.Answer, bool) {
	answer, asked := f.Asked(key, q.Pullspec)
	if !asked {
		f.Ask(key, q)
	}
	if answer == nil {
		return registry.Answer{}, false
	}
	return *answer, true
}

func question(pullspec string) registry.Question { return registry.Question{Pullspec: pullspec} }

func TestCheckerAnswersOnceAndCaches(t *testing.T) {
	f := newChecker(t, 2)
	for range 3 {
		if _, ready := f.confirm("pool", question("a")); ready {
			t.Fatal("ready before it was asked")
		}
	}
	<-f.asked
	f.answers <- nil
	if key := <-f.notified; key != "pool" {
		t.Fatalf("notified %q", key)
	}
	answer, ready := f.confirm("pool", question("a"))
	if !ready || answer.Info.Digest != "of a" || answer.Err != nil || !answer.At.Equal(f.clock.Now()) {
		t.Errorf("answer = %+v", answer)
	}
	if len(f.asked) != 0 {
		t.Error("asked again although the answer is fresh")
	}
}

func TestCheckerAsksAgainWhenAnswersAge(t *testing.T) {
	tests := []struct {
		err  error
		live time.Duration
	}{{nil, time.Minute}, {registry.ErrNotFound, time.Minute}, {registry.ErrUnavailable, time.Second}}
	for _, test := range tests {
		f := newChecker(t, 1)
		f.confirm("pool", question("a"))
		f.answers <- test.err
		<-f.notified
		f.clock.SetTime(f.clock.Now().Add(test.live - 1))
		if answer, ready := f.confirm("pool", question("a")); !ready || !errors.Is(answer.Err, test.err) {
			t.Errorf("%v, still fresh: %+v, %v", test.err, answer, ready)
		}
		f.clock.SetTime(f.clock.Now().Add(1))
		if _, ready := f.confirm("pool", question("a")); ready {
			t.Errorf("%v: an old answer was given", test.err)
		}
		f.answers <- nil
		<-f.notified
	}
}

func TestCheckerDropsWhatIsNotWanted(t *testing.T) {
	f := newChecker(t, 1)
	f.confirm("forgotten", question("a"))
	<-f.asked
	f.confirm("changed", question("old"))
	f.confirm("changed", question("new"))
	f.Forget("forgotten")
	f.answers <- nil
	if q := <-f.asked; q.Pullspec != "new" {
		t.Errorf("asked for %q, want the new pullspec alone", q.Pullspec)
	}
	f.answers <- nil
	if key := <-f.notified; key != "changed" {
		t.Errorf("notified %q", key)
	}
	if answer, ready := f.confirm("changed", question("new")); !ready || answer.Info.Digest != "of new" {
		t.Errorf("answer = %+v", answer)
	}
}

func TestCheckerIsBounded(t *testing.T) {
	const workers, keys = 3, 20
	var running, most atomic.Int32
	notified := make(chan string, keys)
	checker := registry.NewChecker(registry.CheckerOptions{
		Workers: workers, Notify: func(key string) { notified <- key },
		Inspect: func(context.Context, registry.Question) (registry.Info, error) {
			now := running.Add(1)
			defer running.Add(-1)
			for {
				old := most.Load()
				if now <= old || most.CompareAndSwap(old, now) {
					return registry.Info{}, nil
				}
			}
		},
	})
	for i := range keys {
		checker.Ask(fmt.Sprint(i), question("a"))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { checker.Run(ctx) })
	for range keys {
		<-notified
	}
	cancel()
	done.Wait()
	if most.Load() > workers {
		t.Errorf("%d at once, want at most %d", most.Load(), workers)
	}
}

func TestCheckerTimesOut(t *testing.T) {
	notified := make(chan string, 1)
	checker := registry.NewChecker(registry.CheckerOptions{
		Timeout: time.Millisecond, Notify: func(key string) { notified <- key },
		Inspect: func(ctx context.Context, _ registry.Question) (registry.Info, error) {
			<-ctx.Done()
			return registry.Info{}, ctx.Err()
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	checker.Ask("pool", question("a"))
	go checker.Run(ctx)
	<-notified
	if answer, _ := checker.Asked("pool", "a"); answer == nil || !errors.Is(answer.Err, context.DeadlineExceeded) {
		t.Errorf("answer = %+v", answer)
	}
}

func TestCheckerAsksARegistry(t *testing.T) {
	server := registrytest.New(t)
	pullspec := smallImage(t, server)
	notified := make(chan string, 1)
	checker := registry.NewChecker(registry.CheckerOptions{Notify: func(key string) { notified <- key }})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go checker.Run(ctx)
	q := registry.Question{Pullspec: pullspec, CAs: [][]byte{server.CA}}
	checker.Ask("pool", q)
	<-notified
	if answer, _ := checker.Asked("pool", pullspec); answer == nil || answer.Err != nil || answer.Info.Labels["vendor"] != "test" {
		t.Errorf("answer = %+v", answer)
	}
}
