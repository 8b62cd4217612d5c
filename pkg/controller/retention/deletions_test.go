package retention

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

// TestDeletionsHaveRoomOrWait: no request is made later than right after the
// look that it was decided from, and who found no room is woken, one by one.
func TestDeletionsHaveRoomOrWait(t *testing.T) {
	var mu sync.Mutex
	var woken []string
	d := newDeletions(func(pool string) {
		mu.Lock()
		defer mu.Unlock()
		woken = append(woken, pool)
	})
	answer := make(chan struct{})
	slow := func(context.Context) error { <-answer; return nil }
	for n := range deletionsAtOnce {
		if !d.start(t.Context(), fmt.Sprint(n), retention.Image{}, slow) {
			t.Fatalf("there is room for %d only", n)
		}
	}
	made := false
	for _, pool := range []string{"late", "later", "late"} {
		if d.start(t.Context(), pool, retention.Image{}, func(context.Context) error { made = true; return nil }) {
			t.Errorf("there is room for %s", pool)
		}
	}
	close(answer)
	d.wait()
	slices.Sort(woken)
	if want := []string{"0", "1", "2", "3", "late", "later"}; !slices.Equal(woken, want) || made {
		t.Errorf("woken %q, want %q; a request without room: %t", woken, want, made)
	}
	if !d.start(t.Context(), "late", retention.Image{}, func(context.Context) error { return nil }) {
		t.Error("there is no room when all is done")
	}
	d.wait()
}
