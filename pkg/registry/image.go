package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// Image is one to push as it is.
type Image struct {
	Config      []byte
	Layers      []Blob // lowest first
	Annotations map[string]string
}

// Blob is a layer of an Image.
type Blob struct {
	Digest      string
	Size        int64 // compressed
	MediaType   string
	Annotations map[string]string
	// Open reads the content; it is called again when an upload is repeated. Nil
	// is for a layer that the target's repository has.
	Open func() (io.ReadCloser, error)
}

// Tag gives what a pullspec names another tag in its repository.
func (c *Client) Tag(ctx context.Context, pullspec, tag string) error {
	const op = "tagging"
	reference, err := parseReference(op, pullspec)
	if err != nil {
		return err
	}
	found, err := c.puller.Get(ctx, reference)
	if err != nil {
		return failure(op, pullspec, err)
	}
	return failure(op, pullspec, c.put(ctx, reference.Context().Tag(tag), rawManifest{found.Manifest, found.MediaType}))
}

// PushImage pushes an image to target, a repository with a tag, and returns its
// digest when the registry has confirmed it. A layer that cannot be opened and
// that the repository does not have is an ErrNotFound; what Open and its reader
// fail with is passed on.
func (c *Client) PushImage(ctx context.Context, target string, image Image) (string, error) {
	const op = "pushing"
	tag, err := parseTag(op, target)
	if err != nil {
		return "", err
	}
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return "", failure(op, target, err)
	}
	config := bytesBlob(image.Config, types.OCIConfigJSON)
	manifest := manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Annotations: image.Annotations,
		Config: descriptor{MediaType: types.OCIConfigJSON, Digest: config.digest.String(), Size: config.size},
		Layers: make([]descriptor, 0, len(image.Layers)),
	}
	blobs := map[string]*blobLayer{config.digest.String(): config}
	for _, layer := range image.Layers {
		manifest.Layers = append(manifest.Layers, descriptor{
			MediaType: types.MediaType(layer.MediaType), Digest: layer.Digest, Size: layer.Size, Annotations: layer.Annotations,
		})
		blobs[layer.Digest] = layer.upload(tag.Context())
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(c.jobs)
	for _, blob := range blobs {
		group.Go(func() error { return pusher.Upload(groupCtx, tag.Context(), blob) })
	}
	if err := group.Wait(); err != nil {
		return "", failure(op, target, err)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		return "", fmt.Errorf("encoding manifest: %w", err)
	}
	if err := pusher.Put(ctx, tag, rawManifest{raw, types.OCIManifestSchema1}); err != nil {
		return "", failure(op, target, err)
	}
	digest := sha256Hash(raw).String()
	return digest, c.Verify(ctx, target, digest)
}

// upload is the blob as the library wants it.
func (b Blob) upload(repository name.Repository) *blobLayer {
	layer := &blobLayer{digest: hashOf(b.Digest), size: b.Size, mediaType: types.MediaType(b.MediaType)}
	layer.open = func() (io.ReadCloser, error) {
		if b.Open == nil {
			return nil, &Error{
				Class: ErrNotFound, Op: "finding layer", Reference: repository.Digest(b.Digest).String(),
				Detail: "it was in the repository when the build began",
			}
		}
		content, err := b.Open()
		if err != nil {
			return nil, contentError{err}
		}
		return contentReader{content}, nil
	}
	return layer
}

// contentError is a failure of what is to be pushed, and none of the registry's.
type contentError struct{ error }

// Unwrap implements errors.Unwrap.
func (e contentError) Unwrap() error { return e.error }

type contentReader struct{ io.ReadCloser }

// Read implements io.Reader.
func (r contentReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = contentError{err}
	}
	return n, err
}
