package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// Pushed is what Append or CopyLayers did.
type Pushed struct {
	Digest string // of the image or index, as the registry confirmed it; none of layers alone
	Layers int    // distinct layers of the base
	// Streamed counts the base layers that were copied because they could not be
	// mounted and the target did not have them.
	Streamed int
}

// Append pushes base plus content to target, a repository with a tag. Layers of
// the base are left where they are when target's repository has them, mounted
// when it is in the same registry, and streamed otherwise; nothing is unpacked
// or stored. For an index, every platform's image is made and an index of them
// is pushed. At the end the registry is asked for the tag's digest and for the
// digest itself. The client's credentials are for the target; the base is read
// with those it was opened with.
func (c *Client) Append(ctx context.Context, base *Base, target string, content Content) (Pushed, error) {
	const op = "pushing"
	tag, err := parseTag(op, target)
	if err != nil {
		return Pushed{}, err
	}
	// A pusher remembers what it uploaded and its logins, so there is one for each push.
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return Pushed{}, failure(op, target, err)
	}
	images := make([]*composed, len(base.Images))
	for i, image := range base.Images {
		if images[i], err = compose(base, image, content); err != nil {
			return Pushed{}, failure("composing", target, err)
		}
	}
	push := &push{client: c, pusher: pusher, repository: tag.Context()}
	pushed, err := push.blobs(ctx, base, images)
	if err != nil {
		return Pushed{}, failure(op, target, err)
	}
	root, err := push.manifests(ctx, base, images, tag, content)
	if err != nil {
		return Pushed{}, failure(op, target, err)
	}
	pushed.Digest = sha256Hash(root).String()
	return pushed, c.Verify(ctx, target, pushed.Digest)
}

// CopyLayers puts the layers of the image for one platform into the target's
// repository, by mount or stream, so that an image with them can be pushed there
// without having them. Layers that registries do not hold are left out.
func (c *Client) CopyLayers(ctx context.Context, image *BaseImage, target string) (Pushed, error) {
	const op = "copying layers to"
	reference, err := parseReference(op, target)
	if err != nil {
		return Pushed{}, err
	}
	pusher, err := remote.NewPusher(c.options...)
	if err != nil {
		return Pushed{}, failure(op, target, err)
	}
	push := &push{client: c, pusher: pusher, repository: reference.Context()}
	pushed, err := push.blobs(ctx, &Base{Images: []*BaseImage{image}}, nil)
	return pushed, failure(op, target, err)
}

type push struct {
	client     *Client
	pusher     *remote.Pusher
	repository name.Repository
}

// blobs uploads every distinct blob of all images in parallel.
func (p *push) blobs(ctx context.Context, base *Base, images []*composed) (Pushed, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.client.jobs)
	seen := map[v1.Hash]bool{}
	upload := func(layer v1.Layer, digest v1.Hash) {
		if seen[digest] {
			return
		}
		seen[digest] = true
		group.Go(func() error { return p.pusher.Upload(ctx, p.repository, layer) })
	}
	for _, image := range images {
		config := bytesBlob(image.config, types.OCIConfigJSON)
		upload(config, config.digest)
		if image.layer != nil {
			upload(bytesBlob(image.layer.content, image.layer.compression.MediaType()), image.layer.digest)
		}
	}
	var streamed atomic.Int32
	pushed := Pushed{}
	for _, image := range base.Images {
		for _, layer := range image.Held() {
			digest := hashOf(layer.Digest)
			if seen[digest] {
				continue
			}
			pushed.Layers++
			blob := &blobLayer{digest: digest, size: layer.Size, mediaType: types.MediaType(layer.MediaType)}
			blob.open = func() (io.ReadCloser, error) {
				streamed.Add(1)
				return image.client.openBlob(ctx, image.repository, digest)
			}
			upload(&remote.MountableLayer{Layer: blob, Reference: image.repository.Digest(image.Digest)}, digest)
		}
	}
	err := group.Wait()
	pushed.Streamed = int(streamed.Load())
	return pushed, err
}

// rawManifest is what the library needs of a manifest in order to put it.
type rawManifest struct {
	content   []byte
	mediaType types.MediaType
}

// RawManifest implements remote.Taggable.
func (m rawManifest) RawManifest() ([]byte, error) { return m.content, nil }

// MediaType tells the library the content type.
func (m rawManifest) MediaType() (types.MediaType, error) { return m.mediaType, nil }

// manifests puts the images' manifests, then the index if there is one, under
// the tag, and returns the root.
func (p *push) manifests(ctx context.Context, base *Base, images []*composed, tag name.Reference, content Content) ([]byte, error) {
	if !base.Index {
		root := images[0].manifest
		return root, p.pusher.Put(ctx, tag, rawManifest{root, types.OCIManifestSchema1})
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(p.client.jobs)
	index := indexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex,
		Annotations: mergeMaps(base.annotations, annotations(base, base.Digest, content)),
	}
	for i, image := range images {
		digest := sha256Hash(image.manifest)
		group.Go(func() error {
			return p.pusher.Put(groupCtx, p.repository.Digest(digest.String()), rawManifest{image.manifest, types.OCIManifestSchema1})
		})
		index.Manifests = append(index.Manifests, descriptor{
			MediaType: types.OCIManifestSchema1, Digest: digest.String(), Size: int64(len(image.manifest)),
			Platform: base.Images[i].platform,
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	root, err := json.Marshal(index)
	if err != nil {
		return nil, fmt.Errorf("encoding index: %w", err)
	}
	return root, p.pusher.Put(ctx, tag, rawManifest{root, types.OCIImageIndex})
}

// Verify asks the registry whether a tag names a digest, and whether it has that
// digest. Registries that answer from replicas get a few tries.
func (c *Client) Verify(ctx context.Context, target, digest string) error {
	const op = "verifying"
	reference, err := parseReference(op, target)
	if err != nil {
		return err
	}
	for try := 1; ; try++ {
		err := c.verifyOnce(ctx, op, reference, digest)
		if err == nil || try == 3 || !errors.Is(err, ErrUnconfirmed) {
			return err
		}
		timer := time.NewTimer(c.wait << try)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

func (c *Client) verifyOnce(ctx context.Context, op string, reference name.Reference, digest string) error {
	for _, question := range []name.Reference{reference, reference.Context().Digest(digest)} {
		got, err := resolve(ctx, op, question, c.puller)
		if errors.Is(err, ErrNotFound) {
			return fmt.Errorf("%w: %w", ErrUnconfirmed, err)
		}
		if err != nil {
			return err
		}
		if got != digest {
			return &Error{Class: ErrUnconfirmed, Op: op, Reference: question.String(), Detail: fmt.Sprintf("the registry has %s, want %s", got, digest)}
		}
	}
	return nil
}
