package registry

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Layer is a layer to append, compressed once. The same tar and compression give
// the same Layer.
type Layer struct {
	content     []byte
	compression Compression
	digest      v1.Hash
	diffID      v1.Hash
}

// NewLayer compresses the tar that write produces. The config layers of this
// product have some kilobytes to a few megabytes, so they are kept in memory.
func NewLayer(compression Compression, write func(io.Writer) error) (*Layer, error) {
	var compressed bytes.Buffer
	plain := sha256.New()
	zip, err := compression.Writer(&compressed)
	if err != nil {
		return nil, fmt.Errorf("compressing layer: %w", err)
	}
	if err := write(io.MultiWriter(zip, plain)); err != nil {
		return nil, fmt.Errorf("writing layer: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("compressing layer: %w", err)
	}
	layer := &Layer{content: compressed.Bytes(), compression: compression}
	layer.diffID = v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", plain.Sum(nil))}
	layer.digest = sha256Hash(layer.content)
	return layer, nil
}

func sha256Hash(content []byte) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(content))}
}

// Bytes is the compressed size.
func (l *Layer) Bytes() int64 { return int64(len(l.content)) }

// DiffID is the digest of the tar itself.
func (l *Layer) DiffID() string { return l.diffID.String() }

// blobLayer is any content that is to be uploaded, as the library wants it.
type blobLayer struct {
	digest    v1.Hash
	size      int64
	mediaType types.MediaType
	open      func() (io.ReadCloser, error)
}

func bytesBlob(content []byte, mediaType types.MediaType) *blobLayer {
	return &blobLayer{
		digest: sha256Hash(content), size: int64(len(content)), mediaType: mediaType,
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// Digest, DiffID, Compressed, Uncompressed, Size and MediaType implement
// v1.Layer. Only the compressed side is ever asked for when pushing.

// Digest implements v1.Layer.
func (b *blobLayer) Digest() (v1.Hash, error) { return b.digest, nil }

// DiffID implements v1.Layer.
func (b *blobLayer) DiffID() (v1.Hash, error) { return v1.Hash{}, ErrUnsupported }

// Compressed implements v1.Layer.
func (b *blobLayer) Compressed() (io.ReadCloser, error) { return b.open() }

// Uncompressed implements v1.Layer.
func (b *blobLayer) Uncompressed() (io.ReadCloser, error) { return nil, ErrUnsupported }

// Size implements v1.Layer.
func (b *blobLayer) Size() (int64, error) { return b.size, nil }

// MediaType implements v1.Layer.
func (b *blobLayer) MediaType() (types.MediaType, error) { return b.mediaType, nil }
