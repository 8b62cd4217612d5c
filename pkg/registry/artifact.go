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

// Artifact is one blob kept under a tag, as an OCI manifest with an artifact
// type. Its config is that of an image without platform, because there are
// registries that accept no other.
type Artifact struct {
	Type        string // artifactType and media type of the blob
	Content     []byte
	Annotations map[string]string
}

type artifactManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        descriptor        `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// StoreArtifact pushes an artifact to a repository's tag.
func (c *Client) StoreArtifact(ctx context.Context, target string, artifact Artifact) error {
	const op = "storing"
	tag, err := parseReference(op, target)
	if err != nil {
		return err
	}
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return failure(op, target, err)
	}
	blob := bytesBlob(artifact.Content, types.MediaType(artifact.Type))
	config := bytesBlob([]byte(fmt.Sprintf(
		`{"architecture":"unknown","os":"unknown","config":{},"rootfs":{"type":"layers","diff_ids":[%q]}}`, blob.digest)), types.OCIConfigJSON)
	raw, err := json.Marshal(artifactManifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: artifact.Type,
		Config:      descriptor{MediaType: types.OCIConfigJSON, Digest: config.digest.String(), Size: config.size},
		Layers:      []v1.Descriptor{{MediaType: types.MediaType(artifact.Type), Digest: blob.digest, Size: blob.size}},
		Annotations: artifact.Annotations,
	})
	if err != nil {
		return fmt.Errorf("encoding artifact manifest: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for _, b := range []*blobLayer{blob, config} {
		group.Go(func() error { return pusher.Upload(groupCtx, tag.Context(), b) })
	}
	if err := group.Wait(); err != nil {
		return failure(op, target, err)
	}
	return failure(op, target, pusher.Put(ctx, tag, rawManifest{raw, types.OCIManifestSchema1}))
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
		manifest.ArtifactType != artifactType || len(manifest.Layers) != 1 {
		return Artifact{}, &Error{Class: ErrNotFound, Op: "loading", Reference: tag.String(), Detail: "the tag names something else"}
	}
	content, err := c.blob(ctx, tag.Context(), manifest.Layers[0], maxArtifactBytes)
	if err != nil {
		return Artifact{}, err
	}
	return Artifact{Type: artifactType, Content: content, Annotations: manifest.Annotations}, nil
}
