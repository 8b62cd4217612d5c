package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// indexManifest is an index as it is pushed.
type indexManifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	Manifests     []descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Index is one to push of images that its target's repository has.
type Index struct {
	Images      []*BaseImage // in the order of the index
	Annotations map[string]string
}

// OpenImage reads what a pullspec names, which is the image of one platform.
func (c *Client) OpenImage(ctx context.Context, pullspec string) (*BaseImage, error) {
	const op = "reading"
	base, err := c.open(ctx, op, pullspec)
	if err != nil {
		return nil, err
	}
	if base.Index {
		return nil, &Error{Class: ErrUnsupported, Op: op, Reference: pullspec, Detail: "it is an index, want an image"}
	}
	return base.Images[0], nil
}

// PushIndex pushes an index to target, a repository with a tag, and returns its
// digest when the registry has confirmed it. The same images in the same order
// give the same digest; their platforms are those that their configs tell.
func (c *Client) PushIndex(ctx context.Context, target string, index Index) (string, error) {
	const op = "pushing index"
	tag, err := parseTag(op, target)
	if err != nil {
		return "", err
	}
	root, err := index.encode()
	if err != nil {
		return "", failure(op, target, err)
	}
	if err := c.put(ctx, tag, rawManifest{root, types.OCIImageIndex}); err != nil {
		return "", failure(op, target, err)
	}
	digest := sha256Hash(root).String()
	return digest, c.Verify(ctx, target, digest)
}

func (c *Client) put(ctx context.Context, tag name.Tag, manifest rawManifest) error {
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return err
	}
	return pusher.Put(ctx, tag, manifest)
}

func (i Index) encode() ([]byte, error) {
	out := indexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Annotations: i.Annotations}
	for _, image := range i.Images {
		var platform v1.Platform
		if err := json.Unmarshal(image.config, &platform); err != nil {
			return nil, fmt.Errorf("%w: the config of %s is not JSON", ErrCorrupt, image.Digest)
		}
		out.Manifests = append(out.Manifests, descriptor{
			MediaType: image.mediaType, Digest: image.Digest, Size: int64(len(image.manifest)),
			Platform: &v1.Platform{OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant},
		})
	}
	root, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encoding index: %w", err)
	}
	return root, nil
}

// Annotations are those of the image's manifest.
func (i *BaseImage) Annotations() map[string]string { return manifestAnnotations(i.manifest) }

// Labels are those of the image's config.
func (i *BaseImage) Labels() (map[string]string, error) {
	settings, err := i.Settings()
	return settings.Labels, err
}

// Settings are what an image's config says of the containers made of it (OCI image
// specification, config) and, of Docker's format, of the images.
type Settings struct {
	Labels     map[string]string `json:"Labels"`
	User       string            `json:"User"`
	WorkingDir string            `json:"WorkingDir"`
	OnBuild    []string          `json:"OnBuild"`
}

// Settings are those of the image's config.
func (i *BaseImage) Settings() (Settings, error) {
	var config struct {
		Config Settings `json:"config"`
	}
	if err := json.Unmarshal(i.config, &config); err != nil {
		return Settings{}, fmt.Errorf("reading the config of %s: %w", i.Digest, ErrCorrupt)
	}
	return config.Config, nil
}
