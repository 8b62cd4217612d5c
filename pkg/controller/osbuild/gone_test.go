package osbuild

import (
	"context"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/fake"
)

// gone is a back-end whose cache shows that a run was there, and the run no more.
type gone struct {
	*fake.Backend
	run types.UID
	// live is true when a live read does not show it either.
	live bool
}

func (b gone) List(ctx context.Context, pool string, live bool) ([]backend.Observation, error) {
	builds, err := b.Backend.List(ctx, pool, live)
	if live && !b.live {
		return builds, err
	}
	for i, o := range builds {
		if o.UID == b.run {
			builds[i] = backend.Observation{Pool: o.Pool, RenderedConfig: o.RenderedConfig, Builder: o.Builder, ID: o.ID, Object: o.Object, Gone: o.UID}
		}
	}
	return builds, err
}

// TestS23RunThatIsGone is recorded as interrupted, once, and only when a live read says
// so too: a cache that was filled from a server that lags shows what is left without it.
func TestS23RunThatIsGone(t *testing.T) {
	for name, live := range map[string]bool{"it is": true, "the cache is behind": false} {
		t.Run(name, func(t *testing.T) {
			r := newFixture().start(t)
			if _, err := r.settle("worker"); err != nil || !slices.Contains(r.written(), startIt) {
				t.Fatalf("no run is started, %v", err)
			}
			list, err := r.backend.List(t.Context(), "worker", true)
			if err != nil || len(list) != 1 {
				t.Fatalf("%d runs, %v", len(list), err)
			}
			r.Backend = gone{r.backend, list[0].UID, live}
			if _, err := r.settle("worker"); err != nil {
				t.Fatal(err)
			}
			recorded := slices.Contains(r.written(), recordIt)
			if waits := strings.Contains(r.verdict("worker"), api.ReasonWaitingForRetry); recorded != live || waits != live {
				t.Errorf("recorded: %t, it waits for the next try: %t; want %t", recorded, waits, live)
			}
		})
	}
}
