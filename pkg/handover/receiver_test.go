package handover_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
)

// image has a layer of the base and a new one, the latter twice.
func image(t *testing.T) (v1.Image, []handover.Layer) {
	t.Helper()
	base, added := static.NewLayer([]byte("of the base"), types.OCILayer), static.NewLayer(bytes.Repeat([]byte("new"), 1<<16), types.OCILayer)
	config := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	made, err := mutate.AppendLayers(config, base, added, added)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	annotated, ok := mutate.Annotations(made, map[string]string{"k": "v"}).(v1.Image)
	if !ok {
		t.Fatal("the image is no image any more")
	}
	return annotated, []handover.Layer{{Digest: digest.String(), Size: int64(len("of the base"))}}
}

func receive(t *testing.T, dir string, present []handover.Layer) *handover.Receiver {
	t.Helper()
	receiver, err := handover.Receive(dir, present)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(receiver.Close)
	return receiver
}

func push(t *testing.T, receiver *handover.Receiver, image v1.Image) error {
	t.Helper()
	reference, err := name.ParseReference(receiver.Pullspec())
	if err != nil {
		t.Fatal(err)
	}
	return remote.Write(reference, image)
}

func TestWhatIsPushedCanBeOpened(t *testing.T) {
	dir := t.TempDir()
	want, present := image(t)
	if err := push(t, receive(t, dir, present), want); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 3 {
		t.Errorf("files = %v, %v; want a manifest, a config and one layer", files, err)
	}
	got, err := handover.Open(dir, present, limit)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := want.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Layers) != 3 || got.Annotations["k"] != "v" || len(got.Config.RootFS.DiffIDs) != 3 {
		t.Fatalf("image = %+v", got)
	}
	for i, layer := range got.Layers {
		if digest, _ := layers[i].Digest(); layer.Digest != digest.String() || (layer.Open == nil) != (i == 0) {
			t.Errorf("layer %d = %+v", i, layer)
		}
		if layer.Open == nil {
			continue
		}
		if content := readLayer(t, layers[i]); !bytes.Equal(content, readBlob(t, layer.Open)) {
			t.Errorf("layer %d has another content", i)
		}
	}
}

func readLayer(t *testing.T, layer v1.Layer) []byte {
	t.Helper()
	return readBlob(t, layer.Compressed)
}

func readBlob(t *testing.T, open func() (io.ReadCloser, error)) []byte {
	t.Helper()
	stream, err := open()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestReceiverSaysWhyItCouldNotWrite: a client sees a status alone.
func TestReceiverSaysWhyItCouldNotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	receiver := receive(t, dir, nil)
	want, _ := image(t)
	if err := push(t, receiver, want); err == nil {
		t.Error("the push succeeded")
	}
	if err := receiver.Err(); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error = %v", err)
	}
}

func TestReceiverWritesNowhereElse(t *testing.T) {
	outside := t.TempDir()
	dir := filepath.Join(outside, "handover")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(receive(t, dir, nil).Pullspec(), "/")
	for _, path := range []string{"..%2Fescaped", "..", "%2e%2e%2fescaped", "upload-1?digest=sha256:../../escaped"} {
		for _, method := range []string{http.MethodPatch, http.MethodPut} {
			request, err := http.NewRequest(method, "http://"+host+"/v2/os-image/blobs/uploads/"+path, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
		}
	}
	if files, err := os.ReadDir(outside); err != nil || len(files) != 1 {
		t.Errorf("files = %v, %v", files, err)
	}
}
