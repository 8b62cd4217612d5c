package osbuild

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

func imageOf(digest string) string { return repo + "@" + digest }

// after returns the record that Plan writes for a run, when another stands there.
func after(t *testing.T, d Desired, before Record, run backend.Observation, digest string) Record {
	t.Helper()
	o := Observed{
		Builds: []backend.Observation{run}, Records: []Record{before},
		Registry: &Confirmation{Image: imageOf(digest), Found: true, InputsHash: d.Request.ID},
	}
	for _, a := range Plan(d, o, now).Actions {
		if w, ok := a.(WriteRecord); ok {
			return w.Record
		}
	}
	t.Fatalf("no record is written; plan: %s", verbs(Plan(d, o, now)))
	return Record{}
}

func superseded(r Record) string {
	images := make([]string, 0, len(r.Superseded))
	for _, s := range r.Superseded {
		images = append(images, strings.TrimPrefix(s.Image, repo+"@sha256:"))
	}
	return strings.Join(images, " ")
}

// TestRebuildsOfAConfigRememberItsImages: a record that takes another's place,
// well or badly, goes on naming the images before it, each once.
func TestRebuildsOfAConfigRememberItsImages(t *testing.T) {
	first := Desire(inputs())
	second := Desire(inputs(func(in *Inputs) { in.RebuildToken = "2" }))
	third := Desire(inputs(func(in *Inputs) { in.RebuildToken = "3" }))

	r := recorded(first, Succeeded, func(r *Record) { r.Finished, r.UnneededSince = now.Add(-time.Hour), now.Add(-time.Second) })
	r = after(t, second, r, build(second, succeededWith("sha256:2222")), "sha256:2222")
	if got := superseded(r); got != "1111" || r.Image != imageOf("sha256:2222") {
		t.Fatalf("after a rebuild: %s supersedes %q", r.Image, got)
	}
	if s := r.Superseded[0]; s.ImageHash != first.Request.ID || s.InputsHash != first.Request.ID || !s.Finished.Equal(now.Add(-time.Hour)) || !s.UnneededSince.Equal(now.Add(-time.Second)) {
		t.Errorf("superseded image has hash %s, of %v, marked %v", s.InputsHash, s.Finished, s.UnneededSince)
	}
	r.Superseded[0].UnneededSince = now.Add(-time.Minute)

	failed := after(t, third, r, build(third, failedWith(api.ReasonBuildFailed, "x")), "")
	if got := superseded(failed); got != "2222 1111" || failed.Image != "" {
		t.Errorf("after a failed rebuild: %q supersedes %q", failed.Image, got)
	}
	if s := failed.Superseded[1]; !s.UnneededSince.Equal(now.Add(-time.Minute)) {
		t.Errorf("the mark became %v", s.UnneededSince)
	}
	again := after(t, third, failed, build(third, succeededWith("sha256:3333"), func(b *backend.Observation) { b.UID = runUID(2) }), "sha256:3333")
	if got := superseded(again); got != "2222 1111" {
		t.Errorf("after its retry: supersedes %q", got)
	}
	same := after(t, first, again, build(first, succeededWith(digest1), func(b *backend.Observation) { b.UID = runUID(3) }), digest1)
	if got := superseded(same); got != "3333 2222" || !same.UnneededSince.IsZero() {
		t.Errorf("after a build that made the first image again: supersedes %q, marked %v", got, same.UnneededSince)
	}
}

// TestS29LostImageIsNotSuperseded: what the registry no longer has is forgotten
// with the build that makes it again.
func TestS29LostImageIsNotSuperseded(t *testing.T) {
	d := Desire(inputs())
	lost := recorded(d, Succeeded, func(r *Record) {
		r.Superseded = []SupersededImage{{Image: imageOf("sha256:0000"), InputsHash: "v1-other"}}
	})
	again := build(d, func(b *backend.Observation) { b.UID = runUID(1) })
	for name, end := range map[string]func(*backend.Observation){"well": succeededWith("sha256:2222"), "badly": failedWith(api.ReasonBuildFailed, "x")} {
		run := again
		end(&run)
		if got := superseded(after(t, d, lost, run, "sha256:2222")); got != "0000" {
			t.Errorf("built again, %s: supersedes %q", name, got)
		}
	}
}

// TestRebuiltImageIsNotSuperseded: a rebuild that made the same bytes leaves no
// image that may go.
func TestRebuiltImageIsNotSuperseded(t *testing.T) {
	first, second := Desire(inputs()), Desire(inputs(func(in *Inputs) { in.RebuildToken = "2" }))
	r := after(t, second, recorded(first, Succeeded), build(second, succeededWith(digest1)), digest1)
	if r.Image != image1 || len(r.Superseded) != 0 || r.InputsHash != second.Request.ID {
		t.Errorf("record of %s, image %q, supersedes %q", r.InputsHash, r.Image, superseded(r))
	}
}

func TestSupersededImagesAreBounded(t *testing.T) {
	old := Record{RenderedConfig: configA, InputsHash: "v1-other", Image: imageOf("sha256:new")}
	for i := range maxSuperseded {
		old.Superseded = append(old.Superseded, SupersededImage{Image: imageOf(fmt.Sprintf("sha256:%04d", i))})
	}
	r := supersede(Record{RenderedConfig: configA, Image: image1}, Observed{Records: []Record{old}})
	last := imageOf(fmt.Sprintf("sha256:%04d", maxSuperseded-1))
	if len(r.Superseded) != maxSuperseded || r.Superseded[0].Image != old.Image || slices.ContainsFunc(r.Superseded, func(s SupersededImage) bool { return s.Image == last }) {
		t.Errorf("%d superseded images, the first %s", len(r.Superseded), r.Superseded[0].Image)
	}
	if len(old.Superseded) != maxSuperseded || old.Superseded[maxSuperseded-1].Image != last {
		t.Error("the old record was changed")
	}
}
