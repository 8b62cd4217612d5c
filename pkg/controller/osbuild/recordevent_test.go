package osbuild

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// TestEventsOfRecords: those of the loop's own writes wake nobody, all others
// wake the pool, even one that brings a record back to what it was.
func TestEventsOfRecords(t *testing.T) {
	f := newFixture()
	own := recorded(t, f.desired(t), osbuild.Succeeded)
	marked := own.DeepCopy()
	marked.Data[api.KeyRecord] += " "
	r := f.start(t)
	woken := r.wakes()
	r.recorded.Store(own.Name, names.Content([]byte(own.Data[api.KeyRecord])))
	for _, event := range []struct {
		what          string
		before, after *corev1.ConfigMap
		wakes         bool
	}{
		{"its own write", nil, own, false},
		{"its own write, once more", own, own, false},
		{"marked by another loop", own, marked, true},
		{"the mark is taken back", marked, own, true},
		{"removed", own, nil, true},
	} {
		r.recordEvent(event.before, event.after)
		if !event.wakes {
			r.runner.Enqueue("nobody") // comes first where nobody was woken
		}
		want := map[bool]string{true: "worker", false: "nobody"}[event.wakes]
		if got := <-woken; got != want {
			t.Errorf("%s: woken is %s, want %s", event.what, got, want)
		}
	}
}
