package osbuild

import (
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// TestS23RunThatIsGoneIsRecordedAsInterrupted: what is left of it is that it was there.
func TestS23RunThatIsGoneIsRecordedAsInterrupted(t *testing.T) {
	d := Desire(inputs())
	left := withoutRun(build(d))
	left.Gone = "run-1"
	nothing := &Confirmation{Image: d.Request.FinalImage}
	o := Observed{Slots: Slots{Limit: 1}, Builds: []backend.Observation{left}, Registry: nothing}
	steps := Plan(d, o, now)
	if got := verbs(steps); got != "record Retrying" || !steps.TakesAsGone() {
		t.Fatalf("actions %q; it is taken for gone: %t", got, steps.TakesAsGone())
	}
	w, _ := steps.Actions[0].(WriteRecord)
	r := w.Record
	if r.Reason != api.ReasonBuildInterrupted || r.Attempts != 0 || r.Interruptions != 1 || r.LastRun != "run-1" || !r.RetryAt.After(now) || !r.Started.Equal(r.Finished) {
		t.Errorf("record %+v", r)
	}
	for name, row := range map[string]struct {
		change func(*Observed)
		want   string
	}{
		"recorded already":                  {func(o *Observed) { o.Records = []Record{r} }, ""},
		"recorded already, the next is due": {func(o *Observed) { r := r; r.RetryAt = now; o.Records = []Record{r} }, "start"},
		"an earlier one was recorded":       {func(o *Observed) { r := r; r.LastRun, r.RetryAt = "run-0", now; o.Records = []Record{r} }, "record Retrying"},
		"it had succeeded": {func(o *Observed) {
			o.Registry = &Confirmation{Image: d.Request.FinalImage, Found: true, Digest: digest1, InputsHash: d.Request.ID}
		}, "record Succeeded"},
		"the registry is to be asked first": {func(o *Observed) { o.Registry = nil }, ""},
		"no run ever was":                   {func(o *Observed) { o.Builds = []backend.Observation{withoutRun(left)} }, "start"},
		"of other inputs": {func(o *Observed) {
			b := left
			b.ID = "v1-other"
			o.Builds = []backend.Observation{b}
		}, "remove " + configA},
	} {
		o := o
		row.change(&o)
		if got := verbs(Plan(d, o, now)); got != row.want {
			t.Errorf("%s: actions %q, want %q", name, got, row.want)
		}
	}
}
