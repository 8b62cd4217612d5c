package handover_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
)

// FuzzOpen reads a hand-over with any manifest, and with any config under the
// digest that it has: it is refused, or every layer in it is one of the base or
// what its digest says.
func FuzzOpen(f *testing.F) {
	good := newBox(f)
	manifest, err := json.Marshal(good.manifest)
	good.must(err)
	config, err := os.ReadFile(filepath.Join(good.dir, file(good.config)))
	good.must(err)
	f.Add(manifest, config)
	f.Add([]byte(`{"config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[null]}`), []byte("null"))
	f.Add([]byte(`{"layers":[{"digest":"sha256:../../x"}]}`), []byte("{}"))
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		b := newBox(t)
		b.write("manifest.json", manifest)
		b.write(file(digestOf(config)), config)
		image, err := handover.Open(b.dir, b.present, limit)
		if err != nil {
			if !errors.Is(err, handover.ErrRefused) {
				t.Errorf("error = %v", err)
			}
			return
		}
		for _, layer := range image.Layers {
			if layer.Open == nil {
				if layer.Digest != b.base {
					t.Errorf("layer %s cannot be opened and is not of the base", layer.Digest)
				}
				continue
			}
			content, err := read(layer.Open)
			if errors.Is(err, handover.ErrRefused) {
				continue
			}
			if err != nil || digestOf(content) != layer.Digest || int64(len(content)) != layer.Size {
				t.Errorf("layer %s gives %d bytes, %v", layer.Digest, len(content), err)
			}
		}
	})
}
