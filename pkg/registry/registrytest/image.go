package registrytest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Member is one entry of a layer.
type Member struct {
	Name    string
	Content string // of a file
	Link    string // makes it a symbolic link
}

// Tar makes the tar of a layer. A name that ends in a slash is a directory.
func Tar(t testing.TB, members ...Member) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, member := range members {
		header := &tar.Header{Name: member.Name, Mode: 0o644, Size: int64(len(member.Content)), Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
		switch {
		case member.Link != "":
			header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, member.Link, 0o777
		case member.Name[len(member.Name)-1] == '/':
			header.Typeflag, header.Mode = tar.TypeDir, 0o755
		}
		must(t, archive.WriteHeader(header))
		_, err := io.WriteString(archive, member.Content)
		must(t, err)
	}
	must(t, archive.Close())
	return out.Bytes()
}

// Image makes an image of layers, in Docker's format, for linux and the
// architecture.
func Image(t testing.TB, architecture string, layers ...[]byte) v1.Image {
	t.Helper()
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: architecture, OS: "linux", Created: v1.Time{Time: time.Unix(1700000000, 0).UTC()},
		RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{Labels: map[string]string{"vendor": "test"}, Env: []string{"PATH=/usr/bin"}},
	})
	must(t, err)
	for _, content := range layers {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
		must(t, err)
		image, err = mutate.AppendLayers(image, layer)
		must(t, err)
	}
	return image
}

// OCI converts an image to the OCI's media types.
func OCI(image v1.Image) v1.Image {
	return mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), types.OCIConfigJSON)
}

// Index makes an index of images, and an attestation as build tools add it.
func Index(t testing.TB, images ...v1.Image) v1.ImageIndex {
	t.Helper()
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, image := range images {
		config, err := image.ConfigFile()
		must(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: config.OS, Architecture: config.Architecture},
		}})
	}
	attestation, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), static.NewLayer([]byte("{}"), "application/vnd.in-toto+json"))
	must(t, err)
	return mutate.AppendManifests(index, mutate.IndexAddendum{Add: attestation, Descriptor: v1.Descriptor{
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
	}})
}

// Push puts an image or index into the registry and returns its pullspec.
func (s *Server) Push(t testing.TB, repositoryAndTag string, content remote.Taggable) string {
	t.Helper()
	pullspec := s.Host + "/" + repositoryAndTag
	reference, err := name.ParseReference(pullspec)
	must(t, err)
	must(t, remote.Push(reference, content, remote.WithTransport(s.Transport())))
	return pullspec
}

// Pull reads an image back, for the platform if it is an index.
func (s *Server) Pull(t testing.TB, pullspec, architecture string) v1.Image {
	t.Helper()
	reference, err := name.ParseReference(pullspec)
	must(t, err)
	image, err := remote.Image(reference, remote.WithTransport(s.Transport()),
		remote.WithPlatform(v1.Platform{OS: "linux", Architecture: architecture}))
	must(t, err)
	return image
}

// Transport trusts the registry.
func (s *Server) Transport() http.RoundTripper { return s.transport }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rawImage is an image with any bytes for a config and no layer.
type rawImage struct {
	config []byte
}

// PushConfig pushes an image whose config is the given bytes.
func (s *Server) PushConfig(t testing.TB, repositoryAndTag string, config []byte) string {
	t.Helper()
	pullspec := s.Host + "/" + repositoryAndTag
	reference, err := name.ParseReference(pullspec)
	must(t, err)
	blob := static.NewLayer(config, types.OCIConfigJSON)
	must(t, remote.WriteLayer(reference.Context(), blob, remote.WithTransport(s.Transport())))
	must(t, remote.Put(reference, rawImage{config}, remote.WithTransport(s.Transport())))
	return pullspec
}

// MediaType implements the library's interface.
func (rawImage) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// RawManifest implements remote.Taggable.
func (i rawImage) RawManifest() ([]byte, error) {
	hash, size, err := v1.SHA256(bytes.NewReader(i.config))
	if err != nil {
		return nil, err
	}
	return json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{},
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: size, Digest: hash},
	})
}
