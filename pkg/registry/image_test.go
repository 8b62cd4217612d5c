package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// blobOf is a layer of any content.
func blobOf(content string) registry.Blob {
	return registry.Blob{
		Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(content))), Size: int64(len(content)), MediaType: string(types.OCIUncompressedLayer),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

// pushable is an image of one layer that the target has, and one new layer twice.
func pushable(t *testing.T, client *registry.Client, server *registrytest.Server, target string) registry.Image {
	t.Helper()
	base := open(t, client, smallImage(t, server)).Images[0]
	if _, err := client.CopyLayers(context.Background(), base, target); err != nil {
		t.Fatal(err)
	}
	held := base.Held()[0]
	there := registry.Blob{Digest: held.Digest, Size: held.Size, MediaType: string(types.OCILayer), Annotations: map[string]string{"of": "layer"}}
	return registry.Image{
		Config:      []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`),
		Layers:      []registry.Blob{there, blobOf("new"), blobOf("new")},
		Annotations: map[string]string{"of": "image"},
	}
}

func TestPushImageUploadsWhatIsMissing(t *testing.T) {
	server := registrytest.New(t)
	client, target := newClient(t, [][]byte{server.CA}, ""), server.Host+"/os/final:1"
	image := pushable(t, client, server, target)
	before := server.Uploaded("os/final")
	digest, err := client.PushImage(context.Background(), target, image)
	if err != nil {
		t.Fatal(err)
	}
	if moved := server.Uploaded("os/final") - before; moved != int64(len(image.Config)+len("new")) {
		t.Errorf("%d bytes were uploaded", moved)
	}
	got := server.Pull(t, target, "amd64")
	manifest, err := got.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if have, _ := got.Digest(); have.String() != digest {
		t.Errorf("the tag names %s, not %s", have, digest)
	}
	if manifest.MediaType != types.OCIManifestSchema1 || manifest.Config.MediaType != types.OCIConfigJSON || manifest.Annotations["of"] != "image" {
		t.Errorf("manifest = %+v", manifest)
	}
	if len(manifest.Layers) != 3 || manifest.Layers[0].Annotations["of"] != "layer" || manifest.Layers[2].Digest.String() != image.Layers[2].Digest {
		t.Errorf("layers = %+v", manifest.Layers)
	}
	if config, err := got.RawConfigFile(); err != nil || !bytes.Equal(config, image.Config) {
		t.Errorf("config = %s, %v", config, err)
	}
}

func TestPushImageFailures(t *testing.T) {
	broken := errors.New("this is not what it says")
	tests := []struct {
		name  string
		spoil func(*registry.Image, *registrytest.Server)
		want  error
		text  string
	}{
		{
			name: "a layer that was there is gone",
			spoil: func(_ *registry.Image, server *registrytest.Server) {
				server.Fault(func(r *http.Request) (int, bool) {
					return http.StatusNotFound, r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/")
				})
			},
			want: registry.ErrNotFound, text: "it was in the repository when the build began",
		},
		{
			name: "content that cannot be opened",
			spoil: func(image *registry.Image, _ *registrytest.Server) {
				image.Layers[1].Open = func() (io.ReadCloser, error) { return nil, broken }
				image.Layers = image.Layers[:2]
			},
			want: broken,
		},
		{
			name: "content that fails before its end",
			spoil: func(image *registry.Image, _ *registrytest.Server) {
				image.Layers[1].Open = func() (io.ReadCloser, error) {
					return io.NopCloser(io.MultiReader(strings.NewReader("n"), failing{broken})), nil
				}
				image.Layers = image.Layers[:2]
			},
			want: broken,
		},
		{
			name: "the registry forgets it at once",
			spoil: func(_ *registry.Image, server *registrytest.Server) {
				server.Fault(func(r *http.Request) (int, bool) {
					return http.StatusNotFound, r.Method != http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
				})
			},
			want: registry.ErrUnconfirmed,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := registrytest.New(t)
			client, target := newClient(t, [][]byte{server.CA}, ""), server.Host+"/os/final:1"
			image := pushable(t, client, server, target)
			test.spoil(&image, server)
			_, err := client.PushImage(context.Background(), target, image)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error = %v, want %v", err, test.want)
			}
			if puts := registrytest.Count(server.Requests(), "PUT", "/os/final/manifests/1"); puts > 0 && !errors.Is(test.want, registry.ErrUnconfirmed) {
				t.Error("the tag was written")
			}
		})
	}
}

func TestPushImageWantsATag(t *testing.T) {
	client := newClient(t, nil, "")
	target := "quay.io/a/b@sha256:" + strings.Repeat("0", 64)
	if _, err := client.PushImage(context.Background(), target, registry.Image{}); !errors.Is(err, registry.ErrInvalidReference) {
		t.Errorf("error = %v", err)
	}
}

type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }
