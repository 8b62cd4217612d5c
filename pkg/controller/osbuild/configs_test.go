package osbuild

import (
	"slices"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// TestTakeOverReadsNoConfigThatARecordTellsOf: a controller that starts reads
// the content of a config, which may be a megabyte, only when it was changed or
// never built.
func TestTakeOverReadsNoConfigThatARecordTellsOf(t *testing.T) {
	d := newFixture().desired(t)
	for name, row := range map[string]struct {
		change func(*osbuild.RenderedConfig)
		reads  bool
	}{
		"as it was built":           {func(*osbuild.RenderedConfig) {}, false},
		"changed since":             {func(c *osbuild.RenderedConfig) { c.Generation++ }, true},
		"made again":                {func(c *osbuild.RenderedConfig) { c.UID = "config-0" }, true},
		"summarized by other rules": {func(c *osbuild.RenderedConfig) { c.Version++ }, true},
	} {
		t.Run(name, func(t *testing.T) {
			changed := d
			row.change(&changed.Config)
			f := newFixture()
			f.maps = append(f.maps, recorded(t, changed, osbuild.Succeeded))
			f.fail["get machineconfigs "+config] = errServer
			v, err := f.start(t).observe(t.Context(), "worker", false)
			if (err != nil) != row.reads {
				t.Fatalf("error %v", err)
			}
			if err == nil && v.desired.Request.ID != d.Request.ID {
				t.Errorf("the inputs are %+v", v.desired.Fingerprint)
			}
		})
	}
}

// TestSummaryThatIsNotTrue: a record whose summary of the config differs from
// the config, as after a change of the API's types, costs one more round.
func TestSummaryThatIsNotTrue(t *testing.T) {
	d := newFixture().desired(t)
	d.Config.SpecHash = "v1-other"
	d.Request.ID = "v1-other"
	f := newFixture()
	f.maps = append(f.maps, recorded(t, d, osbuild.Succeeded))
	r := f.start(t)
	if _, err := r.settle("worker"); !apierrors.IsConflict(err) {
		t.Fatalf("error %v, want a conflict", err)
	}
	r.written()
	if _, err := r.settle("worker"); err != nil || !slices.Contains(r.written(), startIt) {
		t.Errorf("the next round does not start the build: %v", err)
	}
}
