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
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

func baseLayer(t *testing.T, name string) []byte {
	return registrytest.Tar(t, registrytest.Member{Name: name, Content: strings.Repeat(name+"\n", 3000)})
}

func newLayer(t *testing.T) *registry.Layer {
	t.Helper()
	content := registrytest.Tar(t, registrytest.Member{Name: "etc/new", Content: "new"})
	layer, err := registry.NewLayer(registry.Gzip, func(w io.Writer) error { _, err := w.Write(content); return err })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func content(layer *registry.Layer) registry.Content {
	return registry.Content{
		Layer:  func(*registry.BaseImage) *registry.Layer { return layer },
		Labels: map[string]string{"machineconfig": "rendered-1"}, Annotations: map[string]string{"a": "<b>"}, CreatedBy: "test",
	}
}

func open(t *testing.T, client *registry.Client, pullspec string) *registry.Base {
	t.Helper()
	base, err := client.Open(context.Background(), pullspec)
	if err != nil {
		t.Fatal(err)
	}
	return base
}

func TestAppendMountsAndConverts(t *testing.T) {
	for _, format := range []string{"docker", "oci"} {
		t.Run(format, func(t *testing.T) {
			server := registrytest.New(t)
			image := registrytest.Image(t, "amd64", baseLayer(t, "one"), baseLayer(t, "two"))
			if format == "oci" {
				image = registrytest.OCI(image)
			}
			pullspec := server.Push(t, "os/base:1", image)
			client := newClient(t, [][]byte{server.CA}, "")
			layer := newLayer(t)
			target := server.Host + "/os/final:rendered-1"
			server.Requests()
			pushed, err := client.Append(context.Background(), open(t, client, pullspec), target, content(layer))
			if err != nil {
				t.Fatal(err)
			}
			if pushed.Layers != 2 || pushed.Streamed != 0 || server.Uploaded("os/final") > layer.Bytes()+4096 {
				t.Errorf("pushed = %+v, uploaded %d bytes", pushed, server.Uploaded("os/final"))
			}
			if gets := registrytest.Count(server.Requests(), "GET", "os/base/blobs"); gets != 1 {
				t.Errorf("%d blobs of the base were read, want its config alone", gets)
			}
			checkAppended(t, server.Pull(t, target, "amd64"), pushed.Digest, pullspec, layer, 3)
		})
	}
}

func checkAppended(t *testing.T, image v1.Image, digest, base string, layer *registry.Layer, layers int) {
	t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := image.Digest(); digest != "" && got.String() != digest {
		t.Errorf("digest = %s, want %s", got, digest)
	}
	if manifest.MediaType != types.OCIManifestSchema1 || manifest.Config.MediaType != types.OCIConfigJSON {
		t.Errorf("media types %s, %s", manifest.MediaType, manifest.Config.MediaType)
	}
	for i, l := range manifest.Layers {
		if l.MediaType != types.OCILayer {
			t.Errorf("layer %d: media type %s", i, l.MediaType)
		}
	}
	for key, want := range map[string]string{"a": "<b>", registry.AnnotationBaseName: base} {
		if manifest.Annotations[key] != want {
			t.Errorf("annotation %s = %q, want %q", key, manifest.Annotations[key], want)
		}
	}
	if !strings.HasPrefix(manifest.Annotations[registry.AnnotationBaseDigest], "sha256:") {
		t.Errorf("annotations = %v", manifest.Annotations)
	}
	if config.Config.Labels["machineconfig"] != "rendered-1" || config.Config.Labels["vendor"] != "test" || len(config.Config.Env) != 1 {
		t.Errorf("config = %+v", config.Config)
	}
	if len(manifest.Layers) != layers || len(config.RootFS.DiffIDs) != layers || config.RootFS.DiffIDs[layers-1].String() != layer.DiffID() {
		t.Errorf("%d layers, diff IDs %v", len(manifest.Layers), config.RootFS.DiffIDs)
	}
	if last := config.History[len(config.History)-1]; last.CreatedBy != "test" || !last.Created.Equal(config.Created.Time) {
		t.Errorf("history = %+v", config.History)
	}
	all, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for i, l := range all {
		tar, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, tar); err != nil || n == 0 {
			t.Errorf("reading layer %d: %d bytes, %v", i, n, err)
		}
	}
}

func TestAppendTwiceGivesTheSameDigest(t *testing.T) {
	server := registrytest.New(t)
	pullspec := smallImage(t, server)
	client := newClient(t, [][]byte{server.CA}, "")
	digests := map[string]bool{}
	for _, tag := range []string{"a", "b", "a"} {
		pushed, err := client.Append(context.Background(), open(t, client, pullspec), server.Host+"/os/final:"+tag, content(newLayer(t)))
		if err != nil {
			t.Fatal(err)
		}
		digests[pushed.Digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("digests = %v, want one", digests)
	}
}

func TestAppendStreamsWhatCannotBeMounted(t *testing.T) {
	tests := map[string]func(t *testing.T) (source, target *registrytest.Server){
		"another registry": func(t *testing.T) (_, _ *registrytest.Server) { return registrytest.New(t), registrytest.New(t) },
		"mounts answered by an upload": func(t *testing.T) (_, _ *registrytest.Server) {
			server := registrytest.New(t)
			server.RefuseMounts()
			return server, server
		},
		"mounts forbidden": func(t *testing.T) (_, _ *registrytest.Server) {
			server := registrytest.New(t)
			server.Fault(func(r *http.Request) (int, bool) { return 403, r.URL.Query().Get("mount") != "" })
			return server, server
		},
	}
	for name, servers := range tests {
		t.Run(name, func(t *testing.T) {
			source, target := servers(t)
			pullspec := source.Push(t, "os/base:1", registrytest.Image(t, "amd64", baseLayer(t, "one"), baseLayer(t, "two")))
			client := newClient(t, [][]byte{source.CA, target.CA}, "")
			final := target.Host + "/os/final:1"
			layer := newLayer(t)
			pushed, err := client.Append(context.Background(), open(t, client, pullspec), final, content(layer))
			if err != nil {
				t.Fatal(err)
			}
			if pushed.Streamed != 2 {
				t.Errorf("streamed %d layers, want 2", pushed.Streamed)
			}
			checkAppended(t, target.Pull(t, final, "amd64"), pushed.Digest, pullspec, layer, 3)
			if traffic := client.Traffic(); traffic.Up < target.Uploaded("os/final") || traffic.Down == 0 {
				t.Errorf("traffic = %+v, uploaded %d", traffic, target.Uploaded("os/final"))
			}
		})
	}
}

func TestAppendToAnIndex(t *testing.T) {
	server := registrytest.New(t)
	shared := baseLayer(t, "shared")
	index := registrytest.Index(t,
		registrytest.Image(t, "amd64", shared, baseLayer(t, "amd64")),
		registrytest.OCI(registrytest.Image(t, "arm64", shared, baseLayer(t, "arm64"))))
	pullspec := server.Push(t, "os/base:1", index)
	client := newClient(t, [][]byte{server.CA}, "")
	base := open(t, client, pullspec)
	if len(base.Images) != 2 || len(base.Skipped) != 1 {
		t.Fatalf("base = %+v", base)
	}
	layer := newLayer(t)
	target := server.Host + "/os/final:1"
	pushed, err := client.Append(context.Background(), base, target, content(layer))
	if err != nil {
		t.Fatal(err)
	}
	if pushed.Layers != 3 {
		t.Errorf("%d distinct layers, want 3", pushed.Layers)
	}
	for _, architecture := range []string{"amd64", "arm64"} {
		checkAppended(t, server.Pull(t, target, architecture), "", pullspec, layer, 3)
	}
	info, err := client.Inspect(context.Background(), target)
	if err != nil {
		t.Fatal(err)
	}
	if !info.Index || info.Digest != pushed.Digest || info.MediaType != string(types.OCIImageIndex) ||
		info.Annotations[registry.AnnotationBaseDigest] != base.Digest || info.Labels["machineconfig"] != "rendered-1" ||
		strings.Join(info.Platforms, " ") != "linux/amd64 linux/arm64" {
		t.Errorf("info = %+v", info)
	}
}

func TestAppendFailures(t *testing.T) {
	tests := []struct {
		name  string
		fault func(*http.Request) (int, bool)
		want  error
	}{
		{"uploads denied", func(r *http.Request) (int, bool) { return 403, strings.Contains(r.URL.Path, "/uploads/") }, registry.ErrDenied},
		{"uploads unauthorized", func(r *http.Request) (int, bool) { return 401, strings.Contains(r.URL.Path, "/uploads/") }, registry.ErrUnauthorized},
		{"manifest refused", func(r *http.Request) (int, bool) {
			return 400, r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
		}, registry.ErrRejected},
		{"always broken", func(r *http.Request) (int, bool) { return 500, r.Method == http.MethodPatch }, registry.ErrUnavailable},
		{"S13 pushed but not there", func(r *http.Request) (int, bool) {
			return 404, r.Method != http.MethodPut && strings.Contains(r.URL.Path, "/final/manifests/")
		}, registry.ErrUnconfirmed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := registrytest.New(t)
			pullspec := smallImage(t, server)
			client := newClient(t, [][]byte{server.CA}, "")
			base := open(t, client, pullspec)
			server.Fault(test.fault)
			_, err := client.Append(context.Background(), base, server.Host+"/os/final:1", content(newLayer(t)))
			if !errors.Is(err, test.want) {
				t.Errorf("error = %v, want %v", err, test.want)
			}
		})
	}
}

func TestAppendRetriesUploads(t *testing.T) {
	server := registrytest.New(t)
	pullspec := smallImage(t, server)
	client := newClient(t, [][]byte{server.CA}, "")
	base := open(t, client, pullspec)
	var failed [3]atomic.Bool // the first upload, the first commit, the first manifest
	server.Fault(func(r *http.Request) (int, bool) {
		switch {
		case r.Method == http.MethodPatch:
			return 503, !failed[0].Swap(true)
		case r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/uploads/"):
			return 0, !failed[1].Swap(true)
		case r.Method == http.MethodPut:
			return 429, !failed[2].Swap(true)
		}
		return 0, false
	})
	if _, err := client.Append(context.Background(), base, server.Host+"/os/final:1", content(newLayer(t))); err != nil {
		t.Error(err)
	}
}

func TestAppendWantsATag(t *testing.T) {
	server := registrytest.New(t)
	client := newClient(t, [][]byte{server.CA}, "")
	base := open(t, client, smallImage(t, server))
	target := server.Host + "/os/final@" + base.Digest
	if _, err := client.Append(context.Background(), base, target, content(nil)); !errors.Is(err, registry.ErrInvalidReference) {
		t.Errorf("error = %v, want ErrInvalidReference", err)
	}
}

func TestOpenLayerChecksTheDigest(t *testing.T) {
	server := registrytest.New(t)
	base := open(t, newClient(t, [][]byte{server.CA}, ""), smallImage(t, server))
	image := base.Images[0]
	stream, err := image.OpenLayer(context.Background(), image.Layers[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(stream)
	if err != nil || !bytes.Contains(content, []byte("ID=test")) {
		t.Errorf("read %d bytes, %v", len(content), err)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
}

func TestArtifacts(t *testing.T) {
	server := registrytest.New(t)
	client := newClient(t, [][]byte{server.CA}, "")
	tag := server.Host + "/os/final:base-1"
	want := registry.Artifact{Type: "application/vnd.test.v1", Content: []byte("content"), Annotations: map[string]string{"k": "v"}}
	if _, err := client.LoadArtifact(context.Background(), tag, want.Type); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("before: %v, want ErrNotFound", err)
	}
	var err error
	if want.Digest, err = client.StoreArtifact(context.Background(), tag, want); err != nil {
		t.Fatal(err)
	}
	if digest, err := client.Resolve(context.Background(), tag); err != nil || digest != want.Digest {
		t.Errorf("stored as %s, want %s, %v", digest, want.Digest, err)
	}
	got, err := client.LoadArtifact(context.Background(), tag, want.Type)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("loaded %v, %v", got, err)
	}
	if _, err := client.LoadArtifact(context.Background(), tag, "application/vnd.other"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("of another type: %v, want ErrNotFound", err)
	}
	pullspec := smallImage(t, server)
	if _, err := client.LoadArtifact(context.Background(), pullspec, want.Type); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("of an image: %v, want ErrNotFound", err)
	}
}

// TestLayersOfAnArtifact: it keeps those that it brings, and those that are there.
func TestLayersOfAnArtifact(t *testing.T) {
	server := registrytest.New(t)
	client := newClient(t, [][]byte{server.CA}, "")
	pullspec := smallImage(t, server)
	there := open(t, client, pullspec).Images[0].Layers[0]
	repository := pullspec[:strings.LastIndex(pullspec, ":")]
	content := []byte("a layer")
	brought := registry.Blob{
		Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(content)), Size: int64(len(content)), MediaType: "application/vnd.oci.image.layer.v1.tar",
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
	artifact := registry.Artifact{
		Type: "application/vnd.test.v1", Content: []byte("content"),
		Layers: []registry.Blob{brought, {Digest: there.Digest, Size: there.Size, MediaType: there.MediaType}},
	}
	if _, err := client.StoreArtifact(context.Background(), repository+":kept", artifact); err != nil {
		t.Fatal(err)
	}
	if got, err := client.LoadArtifact(context.Background(), repository+":kept", artifact.Type); err != nil || string(got.Content) != "content" {
		t.Errorf("loaded %v, %v", got, err)
	}
	stream, err := client.OpenBlob(context.Background(), repository, brought.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %q, %v", got, err)
	}
	artifact.Layers[1].Digest = "sha256:" + strings.Repeat("0", 64)
	if _, err := client.StoreArtifact(context.Background(), repository+":kept", artifact); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("with a layer that nobody has: %v, want ErrNotFound", err)
	}
	if _, err := client.OpenBlob(context.Background(), repository, artifact.Layers[1].Digest); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("reading it: %v, want ErrNotFound", err)
	}
}

func TestCopyLayers(t *testing.T) {
	source, target := registrytest.New(t), registrytest.New(t)
	client := newClient(t, [][]byte{source.CA, target.CA}, "")
	base := open(t, client, smallImage(t, source))
	copied, err := client.CopyLayers(context.Background(), base.Images[0], target.Host+"/os/final:ignored")
	if err != nil {
		t.Fatal(err)
	}
	if copied.Streamed != 1 || copied.Layers != 1 {
		t.Errorf("copied = %+v", copied)
	}
	requests := target.Requests()
	if registrytest.Count(requests, "PUT", "/os/final/blobs/uploads/") != 1 || registrytest.Count(requests, "manifests") != 0 {
		t.Errorf("requests = %q", requests)
	}
}
