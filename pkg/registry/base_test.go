package registry_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

func TestOpenLayerDecompresses(t *testing.T) {
	plain := bytes.Repeat([]byte("content "), 50_000)
	var gzipped, zstandard bytes.Buffer
	for _, packer := range []struct {
		out io.Writer
		new func(io.Writer) io.WriteCloser
	}{
		{&gzipped, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }},
		{&zstandard, func(w io.Writer) io.WriteCloser {
			encoder, err := zstd.NewWriter(w)
			if err != nil {
				t.Fatal(err)
			}
			return encoder
		}},
	} {
		packer := packer.new(packer.out)
		if _, err := packer.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := packer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		content []byte
		media   types.MediaType
		want    []byte
	}{
		{"gzip", gzipped.Bytes(), types.OCILayer, plain},
		{"zstd", zstandard.Bytes(), types.OCILayerZStd, plain},
		{"uncompressed", plain, types.OCIUncompressedLayer, plain},
		{"empty", nil, types.OCIUncompressedLayer, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := registrytest.New(t)
			image := open(t, newClient(t, [][]byte{server.CA}, ""), server.Push(t, "os/base:1", layered(t, test.content, test.media))).Images[0]
			stream, err := image.OpenLayer(context.Background(), image.Layers[0].Digest)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(stream)
			if err != nil || !bytes.Equal(got, test.want) {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(test.want))
			}
			if err := stream.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func layered(t *testing.T, content []byte, media types.MediaType) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(registrytest.OCI(empty.Image), static.NewLayer(content, media))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestUnusableBases(t *testing.T) {
	server := registrytest.New(t)
	client := newClient(t, [][]byte{server.CA}, "")
	noLinux := server.Push(t, "os/windows:1", registrytest.Index(t))
	if _, err := client.Open(context.Background(), noLinux); !errors.Is(err, registry.ErrUnsupported) {
		t.Errorf("index without a Linux image: %v, want ErrUnsupported", err)
	}
	pullspec := smallImage(t, server)
	server.Fault(func(r *http.Request) (int, bool) { return 200, strings.Contains(r.URL.Path, "/blobs/") })
	if _, err := client.Open(context.Background(), pullspec); err == nil {
		t.Error("a config that is not what the manifest says was accepted")
	}
}

// FuzzOpenManifest gives the parsers of foreign JSON whatever there is.
func FuzzOpenManifest(f *testing.F) {
	f.Add([]byte(`{"config":{"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":[]},"created":"2024-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"config":null,"rootfs":null,"history":null}`))
	f.Add([]byte(`{"config":{"Labels":[]}}`))
	server := registrytest.New(f)
	client, err := registry.NewClient(registry.Options{CAs: [][]byte{server.CA}, Retry: fast})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, config []byte) {
		base, err := client.Open(context.Background(), server.PushConfig(t, "os/base:1", config))
		if err != nil {
			return
		}
		layer := newLayer(t)
		pushed, err := client.Append(context.Background(), base, server.Host+"/os/final:1", content(layer))
		if err != nil {
			if !errors.Is(err, registry.ErrCorrupt) {
				t.Errorf("error = %v, want ErrCorrupt", err)
			}
			return
		}
		info, err := client.Inspect(context.Background(), server.Host+"/os/final@"+pushed.Digest)
		if err != nil || info.Labels["machineconfig"] != "rendered-1" {
			t.Errorf("info = %+v, %v", info, err)
		}
	})
}
