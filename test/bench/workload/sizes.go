package workload

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Size is a shape of rendered configs.
type Size struct {
	Name string
	// Files of so many random bytes each.
	files, bytes int
}

// Sizes are the configs that a build is measured with: the large one is the most
// that an API server takes, and nothing of it compresses.
var Sizes = []Size{{"1 KB", 1, 700}, {"100 KB", 10, 7_000}, {"1.4 MB", 10, 104_000}, {"5,000 files", 5000, 10}}

// Config makes a rendered config of that size.
func (s Size) Config(name string, random *rand.Rand) (*mcfgv1.MachineConfig, error) {
	var files []any
	for i := range s.files {
		files = append(files, map[string]any{
			"path": fmt.Sprintf("/etc/bench/%d/%d", i%50, i), "mode": 0o644, "overwrite": true,
			"contents": map[string]any{"source": "data:;base64," + base64.StdEncoding.EncodeToString(noise(random, s.bytes))},
		})
	}
	config, err := json.Marshal(map[string]any{
		"ignition": map[string]any{"version": "3.4.0"}, "storage": map[string]any{"files": files},
	})
	if err != nil {
		return nil, fmt.Errorf("making a config of %s: %w", s.Name, err)
	}
	return &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: config}},
	}, nil
}

func noise(random *rand.Rand, size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

// Layer is an image's layer with one file of random bytes.
func Layer(path string, size int64) (v1.Layer, error) {
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	err := archive.WriteHeader(&tar.Header{Name: path, Mode: 0o644, Size: size, Typeflag: tar.TypeReg})
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	random := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", path))))
	if _, err := io.CopyN(archive, random, size); err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	if err := archive.Close(); err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil })
	if err != nil {
		return nil, fmt.Errorf("making a layer: %w", err)
	}
	return layer, nil
}
