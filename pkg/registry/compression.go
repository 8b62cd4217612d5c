package registry

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// Compression is how new layers are compressed. The zero value is Gzip.
type Compression string

// The compressions.
const (
	Gzip Compression = api.CompressionGzip
	Zstd Compression = api.CompressionZstd
)

// errCompression is returned for a name that is none.
var errCompression = errors.New("unknown compression")

// ParseCompression reads a name; the empty one is Gzip's.
func ParseCompression(name string) (Compression, error) {
	switch c := Compression(name); c {
	case "":
		return Gzip, nil
	case Gzip, Zstd:
		return c, nil
	default:
		return "", fmt.Errorf("%w %q, want %s or %s", errCompression, name, Gzip, Zstd)
	}
}

// MediaType is the OCI's for such a layer. Docker's manifests have none for
// zstd; ours are never Docker's.
func (c Compression) MediaType() types.MediaType {
	if c == Zstd {
		return types.OCILayerZStd
	}
	return types.OCILayer
}

// Writer compresses into w. The same content gives the same bytes, however it is
// cut into writes and however many processors there are: gzip's header carries
// no time and no name, and zstd's blocks are made by one goroutine.
func (c Compression) Writer(w io.Writer) (io.WriteCloser, error) {
	if c == Zstd {
		return zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	}
	return gzip.NewWriterLevel(w, gzip.BestSpeed+2)
}
