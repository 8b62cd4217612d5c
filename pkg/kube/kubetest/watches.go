package kubetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"
)

// Watched is how many watches the informers of package kube have.
const Watched = 7

// patience is more than any machine needs to begin its watches.
const patience = 30 * time.Second

// Watches counts the watches that fake clients have begun. An informer counts as
// synced once it has listed, and a fake client loses what is written between that
// and the begin of the watch.
type Watches struct{ begun atomic.Int32 }

// Count counts the watches of fake clients from now on.
func Count(clients ...*clienttesting.Fake) *Watches {
	w := &Watches{}
	for _, client := range clients {
		begin := client.WatchReactionChain[len(client.WatchReactionChain)-1]
		client.PrependWatchReactor("*", func(a clienttesting.Action) (bool, watch.Interface, error) {
			handled, events, err := begin.React(a)
			if handled && err == nil {
				w.begun.Add(1)
			}
			return handled, events, err
		})
	}
	return w
}

// Wait waits until so many have begun.
func (w *Watches) Wait(t testing.TB, n int) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return int(w.begun.Load()) >= n, nil
	})
	if err != nil {
		t.Fatalf("%d of %d watches have begun", w.begun.Load(), n)
	}
}
