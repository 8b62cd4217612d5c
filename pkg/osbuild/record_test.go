package osbuild

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

func fullRecord() Record {
	return Record{
		Version: recordVersion, Pool: thePool, RenderedConfig: configA, InputsHash: "v1-00", Inputs: names.Inputs{Pool: "worker"},
		RebuildToken: "1", Outcome: Retrying, Attempts: 2, Interruptions: 1, LastRun: run1, Started: now, Finished: now.Add(time.Minute),
		RetryAt: now.Add(time.Hour), Image: image1, UnneededSince: now,
		Superseded: []SupersededImage{{Image: image1 + "0", InputsHash: "v1-01", Finished: now, UnneededSince: now}}, BaseDigest: digest1, Reason: "BuildFailed", Message: "m\n\"q\"", Object: "pod/x",
		Changes: []string{"c"}, Log: []string{"a", "b"}, Timings: []buildspec.Timing{{Name: "pull", Seconds: 1}}, BytesPulled: 1, BytesPushed: 2,
	}
}

func TestRecordReadsBack(t *testing.T) {
	for name, r := range map[string]Record{"full": fullRecord(), "bare": {Version: recordVersion, Outcome: Succeeded}} {
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRecord(data)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(r, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func TestRecordVersions(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"version":1}`: true, `{"version":1,"aKeyOfALaterPatch":2}`: true,
		`{}`: false, `{"version":0}`: false, `{"version":2}`: false, `{"version":-1}`: false,
		``: false, `null`: false, `[]`: false, `{"version":1,"attempts":"many"}`: false,
	} {
		if _, err := ParseRecord([]byte(text)); (err == nil) != ok || (err != nil && !errors.Is(err, ErrRecord)) {
			t.Errorf("%q: error %v, want one: %v", text, err, !ok)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	data, err := fullRecord().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"version":1,"retryAt":"9999-12-31T23:59:59Z"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := ParseRecord(data)
		if err != nil {
			if !errors.Is(err, ErrRecord) {
				t.Fatalf("error of another class: %v", err)
			}
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		back, err := ParseRecord(again)
		if err != nil {
			t.Fatalf("what was written anew cannot be read: %v", err)
		}
		if third, err := back.Encode(); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("written anew it is another record (%v):\n%s\n%s", err, again, third)
		}
	})
}

// FuzzForgedRecord puts any record in the place of the pool's own: whatever it
// says, an image that the registry does not confirm is not annotated, and one
// that has failed can be asked for again.
func FuzzForgedRecord(f *testing.F) {
	f.Add("Succeeded", image1, 1, 0, run1, int64(0), true)
	f.Add("Succeeded", "", -1, 1<<62, "", int64(-1), false)
	f.Add("Retrying", "x", 1<<62, -5, "run-2", int64(1)<<40, true)
	f.Add("Failed", "\x00", 0, 0, "", int64(7), false)
	f.Add("Odd", image1, 0, 0, run1, int64(0), true)
	d := Desire(inputs())
	silent := &Confirmation{Image: image1, Err: errors.New("503"), Temporary: true}
	f.Fuzz(func(t *testing.T, outcome, image string, attempts, interruptions int, last string, wait int64, ran bool) {
		r := recorded(d, Outcome(outcome), func(r *Record) {
			r.Image, r.Attempts, r.Interruptions, r.LastRun = image, attempts, interruptions, types.UID(last)
			r.RetryAt = now.Add(time.Duration(wait))
		})
		o := Observed{Records: []Record{r}, Registry: silent}
		if ran {
			o.Builds = []backend.Observation{build(d, failedWith(api.ReasonBuildFailed, "x"))}
		}
		for _, registry := range []*Confirmation{nil, silent, {Image: image}, {Image: image, Found: true, InputsHash: "v1-other"}} {
			o.Registry = registry
			for _, a := range Plan(d, o, now).Actions {
				if a, ok := a.(Annotate); ok {
					t.Fatalf("%q is annotated although the registry says %+v", a.NewestImage, registry)
				}
			}
			verdictOf(t, Status(d, o, now))
		}
		token := Desire(inputs(func(in *Inputs) { in.RebuildToken = "again" }))
		o.Builds, o.Slots, o.Registry = nil, Slots{Limit: 1}, &Confirmation{Image: token.Request.FinalImage}
		if !Plan(token, o, now).Starts() {
			t.Fatalf("with %+v a rebuild is not started", r)
		}
	})
}

// next ends a run of the inputs and returns the record that Plan writes.
func next(t *testing.T, d Desired, before *Record, run backend.Observation) Record {
	t.Helper()
	o := Observed{Builds: []backend.Observation{run}, Registry: &Confirmation{Image: image1, Found: true, InputsHash: d.Request.ID}}
	if before != nil {
		o.Records = []Record{*before}
	}
	for _, a := range Plan(d, o, now).Actions {
		if w, ok := a.(WriteRecord); ok {
			return w.Record
		}
	}
	t.Fatalf("no record is written; plan: %s", verbs(Plan(d, o, now)))
	return Record{}
}

// TestS20TriesAreCounted: failures count, interruptions are counted apart, and
// each has its own backoff.
func TestS20TriesAreCounted(t *testing.T) {
	d := Desire(inputs())
	var before *Record
	ends := failedWith(api.ReasonBuildFailed, "exit 1")
	lost := func(b *backend.Observation) {
		b.Phase, b.Reason, b.Message = backend.PhaseInterrupted, api.ReasonBuildInterrupted, "Evicted"
	}
	for i, step := range []struct {
		end           func(*backend.Observation)
		outcome       Outcome
		tries, breaks int
		wait          time.Duration
	}{
		{ends, Retrying, 1, 0, 10 * time.Second},
		{lost, Retrying, 1, 1, 10 * time.Second},
		{lost, Retrying, 1, 2, 20 * time.Second},
		{ends, Retrying, 2, 2, 20 * time.Second},
		{lost, Retrying, 2, 3, 40 * time.Second},
		{ends, Failed, 3, 3, 0},
	} {
		run := build(d, step.end, func(b *backend.Observation) { b.UID = runUID(i) })
		r := next(t, d, before, run)
		if r.Outcome != step.outcome || r.Attempts != step.tries || r.Interruptions != step.breaks {
			t.Fatalf("end %d: %s after %d tries, %d interruptions; want %s, %d, %d", i, r.Outcome, r.Attempts, r.Interruptions, step.outcome, step.tries, step.breaks)
		}
		want := time.Time{}
		if step.wait > 0 {
			want = now.Add(step.wait)
		}
		if !r.RetryAt.Equal(want) {
			t.Errorf("end %d: next at %v, want %v", i, r.RetryAt, want)
		}
		before = &r
	}
	after := next(t, Desire(inputs(func(in *Inputs) { in.RebuildToken = "1" })), before,
		build(Desire(inputs(func(in *Inputs) { in.RebuildToken = "1" })), ends))
	if after.Attempts != 1 || after.Interruptions != 0 {
		t.Errorf("new inputs begin with %d tries and %d interruptions", after.Attempts, after.Interruptions)
	}
}

// TestCancelledRunIsNotTriedAgain by itself: somebody did not want it.
func TestCancelledRunIsNotTriedAgain(t *testing.T) {
	d := Desire(inputs())
	run := build(d, failedWith(api.ReasonBuildCancelled, "CancelledBuild: The build was cancelled by the user."))
	r := next(t, d, nil, run)
	if r.Outcome != Failed || !r.RetryAt.IsZero() || r.Reason != api.ReasonBuildCancelled {
		t.Fatalf("record %+v", r)
	}
	o := Observed{Builds: []backend.Observation{run}, Records: []Record{r}}
	conditions := Status(d, o, now)
	if got, plan := verdictOf(t, conditions), Plan(d, o, now); got != "BuildFailed/BuildCancelled" || len(plan.Actions) > 0 || plan.RequeueAfter > 0 {
		t.Errorf("%s, plan %q, again in %v", got, verbs(plan), plan.RequeueAfter)
	}
	message := mcp.Condition(conditions, mcfgv1.MachineConfigPoolBuildFailed).Message
	if !strings.Contains(message, "cancelled by the user") || !strings.Contains(message, "what to do: ") || !strings.Contains(message, api.AnnotationRebuild) || strings.Contains(message, "log") {
		t.Errorf("message %q", message)
	}
	for name, change := range map[string]func(*Inputs){
		"a rebuild is asked for": func(in *Inputs) { in.RebuildToken = "again" },
		"other inputs":           func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\nRUN other" },
	} {
		after := Desire(inputs(change))
		if got := verbs(Plan(after, o, now)); got != "remove "+configA {
			t.Errorf("%s: plan %q", name, got)
		}
		gone := Observed{Records: o.Records, Registry: &Confirmation{Image: after.Request.FinalImage}, Slots: Slots{Limit: 1}}
		if got := verbs(Plan(after, gone, now)); got != "start" {
			t.Errorf("%s, once it is gone: plan %q", name, got)
		}
	}
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{
		0: 10 * time.Second, 1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second,
		7: 10 * time.Minute, 8: 10 * time.Minute, 1 << 30: 10 * time.Minute,
	} {
		if got := Backoff(n); got != want {
			t.Errorf("before try %d: %v, want %v", n+1, got, want)
		}
	}
}

// TestS17RecordHasTheBuildsOwnTimes: not those of whoever comes to record it.
func TestS17RecordHasTheBuildsOwnTimes(t *testing.T) {
	d := Desire(inputs())
	started, finished := now.Add(-2*time.Hour), now.Add(-time.Hour)
	for name, end := range map[string]func(*backend.Observation){"well": succeededWith(digest1), "badly": failedWith(api.ReasonBuildFailed, "x")} {
		r := next(t, d, nil, build(d, end, func(b *backend.Observation) { b.Started, b.Finished = started, finished }))
		if !r.Started.Equal(started) || !r.Finished.Equal(finished) {
			t.Errorf("ended %s: recorded %v to %v, want %v to %v", name, r.Started, r.Finished, started, finished)
		}
		if name == "badly" && !r.RetryAt.Equal(finished.Add(10*time.Second)) {
			t.Errorf("next try at %v", r.RetryAt)
		}
	}
}

func TestS23DeletedRunIsRecordedAsInterrupted(t *testing.T) {
	d := Desire(inputs())
	run := build(d, func(b *backend.Observation) { b.Deleting, b.RunDeleting = true, true })
	r := next(t, d, nil, run)
	if r.Outcome != Retrying || r.Reason != api.ReasonBuildInterrupted || r.Attempts != 0 || r.Interruptions != 1 {
		t.Errorf("record %+v", r)
	}
	if !strings.Contains(r.Message, "pod/build-"+configA+" was deleted") {
		t.Errorf("message %q", r.Message)
	}
	for name, row := range map[string]struct {
		change func(*backend.Observation)
		record []Record
	}{
		"recorded already":              {func(*backend.Observation) {}, []Record{r}},
		"it had succeeded":              {phase(backend.PhaseSucceeded), nil},
		"its inputs go too (our doing)": {func(b *backend.Observation) { b.RunDeleting = false }, nil},
		"of other inputs":               {func(b *backend.Observation) { b.ID = "v1-other" }, nil},
	} {
		o := Observed{Builds: []backend.Observation{build(d, func(b *backend.Observation) { b.Deleting, b.RunDeleting = true, true }, row.change)}, Records: row.record}
		if got := verbs(Plan(d, o, now)); got != "" {
			t.Errorf("%s: actions %q, want none", name, got)
		}
	}
}

func runUID(i int) types.UID { return types.UID("run-" + strconv.Itoa(i+1)) }
