package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// digest is what runs report in these tests.
const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Run tests a back-end; each test gets a new subject.
func Run(t *testing.T, newSubject func(t *testing.T) Subject) {
	for name, test := range map[string]func(*bench){
		"StartIsIdempotent":         startIsIdempotent,
		"ListShowsWhatWasAskedFor":  listShowsWhatWasAskedFor,
		"ForeignObject":             foreignObject,
		"OtherInputs":               otherInputs,
		"OtherAttempt":              otherAttempt,
		"StartWhileTerminating":     startWhileTerminating,
		"DeleteRunKeepsInputs":      deleteRunKeepsInputs,
		"DeleteRunOfAnEarlierRun":   deleteRunOfAnEarlierRun,
		"RemoveTwice":               removeTwice,
		"RemoveWithoutRun":          removeWithoutRun,
		"RemoveIsNotTheRunsDoing":   removeIsNotTheRunsDoing,
		"AbandonAHangingRun":        abandonAHangingRun,
		"ListIsOfOnePool":           listIsOfOnePool,
		"ActiveWhileItRuns":         activeWhileItRuns,
		"WatchTellsEachChangeOnce":  watchTellsEachChangeOnce,
		"ResultOfARunThatEndedWell": resultOfARun,
	} {
		t.Run(name, func(t *testing.T) { test(newBench(t, newSubject(t))) })
	}
}

func startIsIdempotent(b *bench) {
	first := b.start(b.request())
	uid, err := b.Backend.Start(b.t.Context(), b.request())
	b.must(err)
	if again := b.start(b.request()); again.UID != first.UID || uid != first.UID {
		b.t.Errorf("the same start made runs %s and %s beside %s", uid, again.UID, first.UID)
	}
}

func listShowsWhatWasAskedFor(b *bench) {
	r := b.request()
	got := b.start(r)
	want := backend.Observation{
		Pool: r.Pool, RenderedConfig: r.RenderedConfig, Builder: b.Builder, ID: r.ID, Attempt: r.Attempt, RebuildToken: r.RebuildToken, Changes: r.Changes,
		Phase: backend.PhasePending, Object: got.Object, UID: got.UID, Created: got.Created, Timeout: r.Timeout, Parts: got.Parts, Message: got.Message,
	}
	if len(got.Parts) != len(r.Architectures) {
		b.t.Errorf("parts %+v for %v", got.Parts, r.Architectures)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("build:\n%s", diff)
	}
	if !strings.HasPrefix(got.Object, names.RunKind(b.Builder)+"/") || got.UID == "" || got.Created.IsZero() {
		b.t.Errorf("run %q of UID %q, made at %v", got.Object, got.UID, got.Created)
	}
	live, err := b.Backend.List(b.t.Context(), b.Pool.Name, true)
	b.must(err)
	if diff := cmp.Diff([]backend.Observation{want}, live); diff != "" {
		b.t.Errorf("build, read live:\n%s", diff)
	}
}

func foreignObject(b *bench) {
	b.must(b.Occupy(b.t.Context(), b.request()))
	b.refuses("the name of the run is taken", b.request())
	b.refuses("the name of the run is still taken", b.request())
}

func otherInputs(b *bench) {
	first := b.start(b.request())
	b.refuses("other inputs of the same config", b.request(func(r *buildspec.Request) { r.ID = "v1-other" }))
	b.refuses("a pool of the same name", b.request(func(r *buildspec.Request) { r.Pool.UID += "-other" }))
	b.one("the first run stays", func(o backend.Observation) bool { return o.UID == first.UID && o.ID == first.ID && !o.Deleting })
}

func otherAttempt(b *bench) {
	b.start(b.request())
	b.refuses("another try of the same inputs", b.request(func(r *buildspec.Request) { r.Attempt = 2 }))
}

func startWhileTerminating(b *bench) {
	first := b.start(b.request())
	b.must(b.Hold(b.t.Context(), first))
	b.must(b.Backend.DeleteRun(b.t.Context(), first))
	b.one("the run terminates", func(o backend.Observation) bool { return o.Deleting && o.RunDeleting && o.UID == first.UID })
	b.refuses("the run terminates", b.request())
	b.must(b.Backend.DeleteRun(b.t.Context(), first))
	b.must(b.Release(b.t.Context(), first))
	b.one("the run is gone", func(o backend.Observation) bool { return o.UID == "" })
	if second := b.start(b.request()); second.UID == first.UID || second.Deleting {
		b.t.Errorf("run %+v is the first one", second)
	}
}

func deleteRunKeepsInputs(b *bench) {
	first := b.start(b.request())
	b.must(b.Backend.DeleteRun(b.t.Context(), first))
	left := b.one("the run is gone, the inputs are not", func(o backend.Observation) bool { return o.UID == "" })
	if left.Phase != backend.PhaseNone || left.ID != first.ID || left.Pool != first.Pool || left.Deleting {
		b.t.Errorf("left: %+v", left)
	}
	b.must(b.Backend.DeleteRun(b.t.Context(), left))
	second := b.start(b.request(func(r *buildspec.Request) { r.Attempt = 2 }))
	if second.Attempt != 2 || second.UID == first.UID {
		b.t.Errorf("second try: %+v", second)
	}
}

func deleteRunOfAnEarlierRun(b *bench) {
	first := b.start(b.request())
	b.must(b.Backend.DeleteRun(b.t.Context(), first))
	b.one("the run is gone", func(o backend.Observation) bool { return o.UID == "" })
	second := b.start(b.request())
	b.must(b.Backend.DeleteRun(b.t.Context(), first))
	live, err := b.Backend.List(b.t.Context(), b.Pool.Name, true)
	b.must(err)
	if len(live) != 1 || live[0].UID != second.UID || live[0].Deleting {
		b.t.Errorf("deleting the first run took the second: %+v", live)
	}
}

func removeTwice(b *bench) {
	o := b.start(b.request())
	b.must(b.Backend.Remove(b.t.Context(), o))
	b.must(b.Backend.Remove(b.t.Context(), o))
	b.none()
	b.must(b.Backend.Remove(b.t.Context(), o))
	b.start(b.request(func(r *buildspec.Request) { r.ID = "v1-other" }))
}

func removeWithoutRun(b *bench) {
	o := b.start(b.request())
	b.must(b.Backend.DeleteRun(b.t.Context(), o))
	left := b.one("the run is gone", func(o backend.Observation) bool { return o.UID == "" })
	b.must(b.Backend.Remove(b.t.Context(), left))
	b.none()
}

// removeIsNotTheRunsDoing: a build that is removed is told apart from a run
// that somebody deletes.
func removeIsNotTheRunsDoing(b *bench) {
	o := b.start(b.request())
	b.must(b.Hold(b.t.Context(), o))
	b.must(b.Backend.Remove(b.t.Context(), o))
	b.one("the build terminates", func(o backend.Observation) bool { return o.Deleting && !o.RunDeleting })
	b.refuses("the build terminates", b.request())
	b.must(b.Release(b.t.Context(), o))
	b.none()
}

// abandonAHangingRun: a run that does not go is let go of, and its build is
// removed with it.
func abandonAHangingRun(b *bench) {
	o := b.start(b.request())
	b.must(b.Stall(b.t.Context(), o))
	b.must(b.Backend.Remove(b.t.Context(), o))
	hangs := b.one("the build terminates", func(o backend.Observation) bool {
		return o.Deleting && !o.GoneBy.IsZero() && !slices.ContainsFunc(o.Parts, func(p backend.Part) bool { return p.Runs })
	})
	b.must(b.Backend.Abandon(b.t.Context(), backend.Observation{RenderedConfig: hangs.RenderedConfig, Builder: hangs.Builder, UID: "another"}))
	b.one("another run is not taken for it", func(o backend.Observation) bool { return o.UID == hangs.UID })
	b.must(b.Backend.Abandon(b.t.Context(), hangs))
	b.none()
	b.must(b.Backend.Abandon(b.t.Context(), hangs))
}

func listIsOfOnePool(b *bench) {
	b.start(b.request())
	for _, live := range []bool{false, true} {
		others, err := b.Backend.List(b.t.Context(), b.Pool.Name+"-other", live)
		if err != nil || len(others) > 0 {
			b.t.Errorf("builds of another pool, live %t: %+v, %v", live, others, err)
		}
	}
}

func activeWhileItRuns(b *bench) {
	active := func(want ...string) {
		b.t.Helper()
		b.eventually(fmt.Sprintf("active pools are %q", want), func() error {
			if got := b.Backend.Active(); !slices.Equal(got, want) {
				return fmt.Errorf("they are %q", got)
			}
			return nil
		})
	}
	active()
	o := b.start(b.request())
	active(b.Pool.Name)
	b.must(b.Finish(b.t.Context(), o, digest))
	active()
}

func watchTellsEachChangeOnce(b *bench) {
	o := b.start(b.request())
	b.start(b.request())
	b.must(b.Finish(b.t.Context(), o, digest))
	ended := b.one("the run has ended", func(o backend.Observation) bool { return o.Phase == backend.PhaseSucceeded })
	b.must(b.Backend.Remove(b.t.Context(), ended))
	b.none()
	b.eventually("all was told", func() error {
		got := b.events()
		// Whether the run's end is told apart from the last part's is the back-end's affair.
		got = slices.DeleteFunc(got, func(e string) bool { return e == "Succeeded -> gone" })
		if b.Shape != nil {
			// Of several parts, each is told of.
			got = slices.DeleteFunc(got, func(e string) bool { return e == "Pending -> Pending" })
		}
		want := []string{"gone -> Pending", "Pending -> Succeeded", "inputs -> gone"}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("told:\n%s", diff)
		}
		return nil
	})
}

func resultOfARun(b *bench) {
	o := b.start(b.request())
	b.must(b.Finish(b.t.Context(), o, digest))
	ended := b.one("the run has ended", func(o backend.Observation) bool { return o.Phase == backend.PhaseSucceeded })
	if ended.Result.Digest != digest || ended.Finished.IsZero() || ended.UID == types.UID("") {
		b.t.Errorf("ended: %+v", ended)
	}
}
