package osbuild

import (
	"testing"

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
