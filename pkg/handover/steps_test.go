package handover_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// withStep lays the image down as that of a step too, as buildah pushes it once the
// image itself is settled: its new layer is known by the digest that it had.
func (b *box) withStep(key string) {
	b.t.Helper()
	content, err := json.Marshal(b.manifest)
	b.must(err)
	b.write("step-"+key+".json", content)
}

// TestStepsAreSettled: what steps left has the layers of the settled image, and its
// own are settled like them.
func TestStepsAreSettled(t *testing.T) {
	form := handover.Form{Epoch: epoch, Compression: registry.Gzip}
	b := boxWith(t, tarOf(t, entries(epoch.Add(time.Hour))), registry.Gzip)
	config, err := os.ReadFile(filepath.Join(b.dir, file(b.config)))
	b.must(err)
	settled, err := handover.Settle(t.Context(), b.dir, b.present, form)
	b.must(err)
	if before := settled.Before(); len(before) != 1 || before[0].Digest != b.layer || before[0].Size < 1 {
		t.Fatalf("before: %+v, want %s", before, b.layer)
	}
	image, err := handover.Open(b.dir, b.present, limit)
	b.must(err)

	b.write(file(b.config), config)
	b.withStep("one")
	b.withStep("two")
	b.must(settled.Steps(t.Context(), b.dir, []string{"none", "one", "two"}, b.present, form))
	steps, err := handover.OpenSteps(b.dir, []string{"none", "one", "two"}, b.present, limit)
	b.must(err)
	if len(steps) != 2 {
		t.Fatalf("steps %v", steps)
	}
	for key, step := range steps {
		if got, want := fmt.Sprint(step.Layers[1].Digest, step.Config.RootFS.DiffIDs), fmt.Sprint(image.Layers[1].Digest, image.Config.RootFS.DiffIDs); got != want {
			t.Errorf("%s has the layers %s, the image %s", key, got, want)
		}
	}
	b.must(handover.DropSteps(b.dir, []string{"none", "one", "two"}))
	if steps, err := handover.OpenSteps(b.dir, []string{"one", "two"}, b.present, limit); err != nil || len(steps) > 0 {
		t.Errorf("dropped, and there are %v, %v", steps, err)
	}
	if _, err := handover.Open(b.dir, b.present, limit); err != nil {
		t.Errorf("the image itself: %v", err)
	}
}

// TestStepsAreNotTrusted: the image of a step is checked like the image, and all of
// them share the limit.
func TestStepsAreNotTrusted(t *testing.T) {
	many := strings.Split("one two three four five six seven eight nine", " ")
	for name, spoil := range map[string]func(*box){
		"a layer of another repository": func(b *box) {
			b.layers(b.describe(b.base, 4), b.describe(digestOf([]byte("elsewhere")), 9))
			b.withStep("one")
		},
		"a link": func(b *box) {
			b.must(os.Symlink(b.outside, filepath.Join(b.dir, "step-one.json")))
		},
		"more documents than are read": func(b *box) {
			b.setConfig(`{"rootfs":{"type":"layers","diff_ids":[]},"comment":"` + strings.Repeat("x", 4<<20-1000) + `"}`)
			b.layers()
			for i := range many {
				b.withStep(many[i])
			}
		},
		"no manifest": func(b *box) { b.write("step-one.json", []byte("{}")) },
		"a config of another image": func(b *box) {
			b.setConfig(`{"rootfs":{"type":"layers","diff_ids":[]}}`)
			b.withStep("one")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			spoil(b)
			if steps, err := handover.OpenSteps(b.dir, many, b.present, limit); !errors.Is(err, handover.ErrRefused) {
				t.Errorf("%v, %v; want it refused", steps, err)
			}
		})
	}
	b := newBox(t)
	b.withStep("one")
	more := bytes.Repeat([]byte("more!"), 1000)
	b.write(file(digestOf(more)), more)
	b.setConfig(fmt.Sprintf(`{"rootfs":{"type":"layers","diff_ids":[%q,%q]}}`, b.base, digestOf(more)))
	b.layers(b.describe(b.base, 4), b.describe(digestOf(more), len(more)))
	b.withStep("two")
	for most, refused := range map[int64]bool{9999: true, 10000: false} {
		if _, err := handover.OpenSteps(b.dir, []string{"one", "two"}, b.present, most); errors.Is(err, handover.ErrRefused) != refused {
			t.Errorf("two layers of 5000 bytes where %d are allowed: %v", most, err)
		}
	}
}
