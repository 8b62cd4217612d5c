package handover

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blob reads a file and keeps its last bytes back until all of them are known to
// have the right digest, so that nobody receives the whole of another content.
type blob struct {
	file      *os.File
	digest    v1.Hash
	remaining int64
	sum       hash.Hash
}

func openBlob(dir string, digest v1.Hash, size int64) (io.ReadCloser, error) {
	file, err := openFile(dir, digest.Hex)
	if err != nil {
		return nil, err
	}
	return &blob{file: file, digest: digest, remaining: size, sum: sha256.New()}, nil
}

// Read implements io.Reader.
func (b *blob) Read(p []byte) (int, error) {
	if b.remaining == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.remaining {
		p = p[:b.remaining]
	}
	n, err := b.file.Read(p)
	b.sum.Write(p[:n])
	b.remaining -= int64(n)
	what := "layer " + b.digest.String()
	switch {
	case b.remaining > 0 && err == io.EOF:
		return 0, refuse(what, "became shorter while it was read")
	case b.remaining == 0 && hex.EncodeToString(b.sum.Sum(nil)) != b.digest.Hex:
		return 0, refuse(what, "has the digest sha256:%x", b.sum.Sum(nil))
	case err == io.EOF:
		err = nil
	}
	return n, err
}

// Close implements io.Closer.
func (b *blob) Close() error { return b.file.Close() }
