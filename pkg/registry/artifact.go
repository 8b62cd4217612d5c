package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// maxArtifactBytes bounds what LoadArtifact reads.
const maxArtifactBytes = 64 << 20

// Artifact is one blob kept under a tag, and layers that it tells of, as an OCI
// manifest with an artifact type. Its config is that of an image without platform, because there are
// registries that accept no other.
type Artifact struct {
	Type        string // artifactType and media type of the blob
	Content     []byte
	Annotations map[string]string
	// Layers are kept in the repository while the artifact is. LoadArtifact leaves
	// them out.
	Layers []Blob
	// Digest is of the manifest, once it is stored or loaded.
	Digest string
}

type artifactManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        descriptor        `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// StoreArtifact pushes an artifact to a repository's tag and returns the digest of
// its manifest.
func (c *Client) StoreArtifact(ctx context.Context, target string, artifact Artifact) (string, error) {
	const op = "storing"
	tag, err := parseReference(op, target)
	if err != nil {
		return "", err
	}
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return "", failure(op, target, err)
	}
	blob := bytesBlob(artifact.Content, types.MediaType(artifact.Type))
	layers, uploads := []v1.Descriptor{{MediaType: blob.mediaType, Digest: blob.digest, Size: blob.size}}, []*blobLayer{blob}
	for _, layer := range artifact.Layers {
		upload := layer.upload(tag.Context())
		layers = append(layers, v1.Descriptor{MediaType: upload.mediaType, Digest: upload.digest, Size: upload.size})
		uploads = append(uploads, upload)
	}
	// Registries that read the config want one that fits the layers, by their number.
	diffs, err := json.Marshal(digestsOf(layers))
	if err != nil {
		return "", fmt.Errorf("encoding artifact manifest: %w", err)
	}
	config := bytesBlob([]byte(fmt.Sprintf(
		`{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":%s}}`, diffs)), types.OCIConfigJSON)
	raw, err := json.Marshal(artifactManifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifact.Type,
		Config:      descriptor{MediaType: types.OCIConfigJSON, Digest: config.digest.String(), Size: config.size},
		Layers:      layers,
		Annotations: artifact.Annotations,
	})
	if err != nil {
		return "", fmt.Errorf("encoding artifact manifest: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(c.jobs)
	for _, b := range append(uploads, config) {
		group.Go(func() error { return pusher.Upload(groupCtx, tag.Context(), b) })
	}
	if err := group.Wait(); err != nil {
		return "", failure(op, target, err)
	}
	return sha256Hash(raw).String(), failure(op, target, pusher.Put(ctx, tag, rawManifest{raw, types.OCIManifestSchema1}))
}

func digestsOf(layers []v1.Descriptor) []string {
	digests := make([]string, len(layers))
	for i, layer := range layers {
		digests[i] = layer.Digest.String()
	}
	return digests
}

// LoadArtifact reads an artifact of the given type back. What the tag names but
// is something else is ErrNotFound.
func (c *Client) LoadArtifact(ctx context.Context, target, artifactType string) (Artifact, error) {
	const op = "loading"
	tag, err := parseReference(op, target)
	if err != nil {
		return Artifact{}, err
	}
	artifact, err := c.loadArtifact(ctx, tag, artifactType)
	return artifact, failure(op, target, err)
}

func (c *Client) loadArtifact(ctx context.Context, tag name.Reference, artifactType string) (Artifact, error) {
	got, err := c.puller.Get(ctx, tag)
	if err != nil {
		return Artifact{}, err
	}
	var manifest artifactManifest
	if err := json.NewDecoder(bytes.NewReader(got.Manifest)).Decode(&manifest); err != nil ||
		manifest.ArtifactType != artifactType || len(manifest.Layers) == 0 {
		return Artifact{}, &Error{Class: ErrNotFound, Op: "loading", Reference: tag.String(), Detail: "the tag names something else"}
	}
	content, err := c.blob(ctx, tag.Context(), manifest.Layers[0], maxArtifactBytes)
	if err != nil {
		return Artifact{}, err
	}
	return Artifact{Type: artifactType, Content: content, Annotations: manifest.Annotations, Digest: got.Digest.String()}, nil
}
