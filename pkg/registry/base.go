package registry

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"

	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

// maxConfigBytes bounds an image config; they have a few kilobytes.
const maxConfigBytes = 16 << 20

// Base is an image, or an index of images, to build upon: its manifests and
// configs, none of its layers.
type Base struct {
	Name      string // as it was asked for
	Source    string // the repository that it was read from
	Mirrored  bool   // that is a mirror
	Digest    string // of the image or index
	Index     bool
	Images    []*BaseImage // one, or one for every platform of the index
	Skipped   []string     // members of the index that are no Linux images, for a log line
	mediaType string

	annotations map[string]string
}

// BaseImage is the image for one platform.
type BaseImage struct {
	Digest   string
	Platform string // "linux/amd64", "linux/arm64/v8"
	Layers   []BaseLayer

	client     *Client
	repository name.Repository
	platform   *v1.Platform // as the index has it
	mediaType  types.MediaType
	manifest   []byte
	config     []byte
}

// BaseLayer is one layer, lowest first.
type BaseLayer struct {
	Digest    string
	Size      int64 // compressed
	MediaType string
}

// Open reads the manifests and configs of a base image or index, from the first
// mirror that has it or from where its name says. What is read of it later comes
// from the same place.
func (c *Client) Open(ctx context.Context, pullspec string) (*Base, error) {
	return c.open(ctx, "reading", pullspec)
}

func (c *Client) open(ctx context.Context, op, pullspec string) (*Base, error) {
	var base *Base
	err := c.anywhere(ctx, op, pullspec, func(source registriesconf.Source, puller *remote.Puller) (err error) {
		base, err = c.openAt(ctx, op, source.Pullspec, puller)
		if err == nil {
			base.Name, base.Mirrored = pullspec, source.Mirror
		}
		return err
	})
	return base, err
}

// openAt reads from where the pullspec says.
func (c *Client) openAt(ctx context.Context, op, pullspec string, first *remote.Puller) (*Base, error) {
	reference, err := parseReference(op, pullspec)
	if err != nil {
		return nil, err
	}
	descriptor, err := first.Get(ctx, reference)
	if err != nil {
		return nil, failure(op, pullspec, err)
	}
	base := &Base{Name: pullspec, Source: reference.Context().Name(), Digest: descriptor.Digest.String(), mediaType: string(descriptor.MediaType)}
	switch {
	case descriptor.MediaType.IsIndex():
		err = c.openIndex(ctx, base, reference.Context(), descriptor)
	case descriptor.MediaType.IsImage():
		var image *BaseImage
		image, err = c.openImage(ctx, reference.Context(), descriptor)
		if err == nil {
			base.Images = []*BaseImage{image}
			base.annotations = manifestAnnotations(descriptor.Manifest)
		}
	default:
		err = fmt.Errorf("%w: media type %s", ErrUnsupported, descriptor.MediaType)
	}
	if err != nil {
		return nil, failure(op, pullspec, err)
	}
	return base, nil
}

func manifestAnnotations(raw []byte) map[string]string {
	var manifest struct {
		Annotations map[string]string `json:"annotations"`
	}
	if json.Unmarshal(raw, &manifest) != nil {
		return nil
	}
	return manifest.Annotations
}

func (c *Client) openIndex(ctx context.Context, base *Base, repository name.Repository, descriptor *remote.Descriptor) error {
	manifest, err := v1.ParseIndexManifest(bytes.NewReader(descriptor.Manifest))
	if err != nil {
		return fmt.Errorf("%w: index does not parse", ErrCorrupt)
	}
	base.Index, base.annotations = true, manifest.Annotations
	var members []v1.Descriptor
	for _, member := range manifest.Manifests {
		// Attestations and the like describe digests that will be others.
		if !member.MediaType.IsImage() || member.Platform == nil || member.Platform.OS != "linux" {
			base.Skipped = append(base.Skipped, member.Digest.String())
			continue
		}
		members = append(members, member)
	}
	if len(members) == 0 {
		return fmt.Errorf("%w: the index has no Linux image", ErrUnsupported)
	}
	base.Images = make([]*BaseImage, len(members))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.jobs)
	for i, member := range members {
		group.Go(func() error {
			child, err := c.puller.Get(ctx, repository.Digest(member.Digest.String()))
			if err != nil {
				return err
			}
			image, err := c.openImage(ctx, repository, child)
			if err != nil {
				return err
			}
			image.platform, image.Platform = member.Platform, member.Platform.String()
			base.Images[i] = image
			return nil
		})
	}
	return group.Wait()
}

func (c *Client) openImage(ctx context.Context, repository name.Repository, descriptor *remote.Descriptor) (*BaseImage, error) {
	manifest, err := v1.ParseManifest(bytes.NewReader(descriptor.Manifest))
	if err != nil {
		return nil, fmt.Errorf("%w: manifest does not parse", ErrCorrupt)
	}
	image := &BaseImage{
		Digest: descriptor.Digest.String(), client: c, repository: repository,
		manifest: descriptor.Manifest, mediaType: descriptor.MediaType,
	}
	for _, layer := range manifest.Layers {
		image.Layers = append(image.Layers, BaseLayer{
			Digest: layer.Digest.String(), Size: layer.Size, MediaType: string(layer.MediaType),
		})
	}
	if image.config, err = c.blob(ctx, repository, manifest.Config, maxConfigBytes); err != nil {
		return nil, err
	}
	var platform v1.Platform
	if err := json.Unmarshal(image.config, &platform); err != nil {
		return nil, fmt.Errorf("%w: image config is not JSON", ErrCorrupt)
	}
	image.Platform = platform.String()
	return image, nil
}

// blob reads a small blob; the library checks its digest.
func (c *Client) blob(ctx context.Context, repository name.Repository, descriptor v1.Descriptor, limit int64) ([]byte, error) {
	if descriptor.Size > limit {
		return nil, fmt.Errorf("%w: blob %s has %d bytes", ErrUnsupported, descriptor.Digest, descriptor.Size)
	}
	if int64(len(descriptor.Data)) == descriptor.Size && descriptor.Size > 0 {
		if hash, _, err := v1.SHA256(bytes.NewReader(descriptor.Data)); err == nil && hash == descriptor.Digest {
			return descriptor.Data, nil
		}
	}
	reader, err := c.openBlob(ctx, repository, descriptor.Digest)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(reader, limit+1))
	if closeErr := reader.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%w: blob %s is larger than its manifest says", ErrCorrupt, descriptor.Digest)
	}
	return content, nil
}

func (c *Client) openBlob(ctx context.Context, repository name.Repository, digest v1.Hash) (io.ReadCloser, error) {
	layer, err := c.puller.Layer(ctx, repository.Digest(digest.String()))
	if err != nil {
		return nil, err
	}
	return layer.Compressed()
}

// OpenBlob streams a blob of a repository as it lies there. The digest is checked
// when the stream is read to its end.
func (c *Client) OpenBlob(ctx context.Context, repository, digest string) (io.ReadCloser, error) {
	const op = "reading blob"
	reference, err := parseReference(op, repository+"@"+digest)
	if err != nil {
		return nil, err
	}
	stream, err := c.openBlob(ctx, reference.Context(), hashOf(digest))
	return stream, failure(op, reference.String(), err)
}

// OpenLayer streams one layer as the tar that it is, decompressed (gzip, zstd or
// none). The digest is checked when the stream is read to its end.
func (i *BaseImage) OpenLayer(ctx context.Context, digest string) (io.ReadCloser, error) {
	const op = "reading layer"
	reference := i.repository.Digest(digest)
	compressed, err := i.client.openBlob(ctx, i.repository, hashOf(digest))
	if err != nil {
		return nil, failure(op, reference.String(), err)
	}
	tar, err := Decompress(compressed)
	if err != nil {
		_ = compressed.Close()
		return nil, failure(op, reference.String(), err)
	}
	return tar, nil
}

// layerReader closes the decompressor and what it reads from, and drains the
// latter first, so that the digest of the whole blob is checked.
type layerReader struct {
	io.Reader
	closeDecoder func()
	compressed   io.ReadCloser
	buffered     *bufio.Reader
}

func (r *layerReader) Close() error {
	r.closeDecoder()
	return r.compressed.Close()
}

// Read implements io.Reader.
func (r *layerReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		if _, drainErr := io.Copy(io.Discard, r.buffered); drainErr != nil {
			return n, drainErr
		}
	}
	return n, err
}

// Decompress reads a layer as the tar that it is, compressed by gzip, by zstd or
// not at all. Closing the result closes what it reads from.
func Decompress(compressed io.ReadCloser) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(compressed, 1<<16)
	magic, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	out := &layerReader{compressed: compressed, buffered: buffered, closeDecoder: func() {}}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		decoder, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		out.Reader = decoder
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		decoder, err := zstd.NewReader(buffered)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		out.Reader, out.closeDecoder = decoder, decoder.Close
	default:
		out.Reader = buffered
	}
	return out, nil
}

// Held returns the layers whose content registries hold; that of others comes
// from elsewhere.
func (i *BaseImage) Held() []BaseLayer {
	var held []BaseLayer
	for _, layer := range i.Layers {
		if types.MediaType(layer.MediaType).IsDistributable() {
			held = append(held, layer)
		}
	}
	return held
}

// History is what an image's config tells of how its layers came to be.
type History struct {
	// Created is when the image was made; zero when it does not say.
	Created time.Time
	// DiffIDs are the digests of the layers' tars, lowest first.
	DiffIDs []string
}

// History reads the image's config.
func (i *BaseImage) History() (History, error) {
	var config struct {
		Created time.Time `json:"created"`
		RootFS  struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(i.config, &config); err != nil {
		return History{}, fmt.Errorf("reading the config of %s: %w: %w", i.Digest, ErrCorrupt, err)
	}
	return History{Created: config.Created, DiffIDs: config.RootFS.DiffIDs}, nil
}

// Image returns the Linux image for an architecture, whatever its variant; nil for
// none.
func (b *Base) Image(architecture string) *BaseImage {
	for _, image := range b.Images {
		system, rest, _ := strings.Cut(image.Platform, "/")
		if has, _, _ := strings.Cut(rest, "/"); system == "linux" && has == architecture {
			return image
		}
	}
	return nil
}
