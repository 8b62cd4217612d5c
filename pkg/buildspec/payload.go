package buildspec

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// chunkBytes is how much text goes into one ConfigMap: etcd and the API server
// take 1 MiB an object by default, and names and metadata need room. A multiple
// of four, so that each chunk of base64 is whole.
const chunkBytes = 900 * 1024

// maxPayloadBytes bounds what Decode inflates: an API object is smaller by far.
const maxPayloadBytes = 64 << 20

// Payload is a document on its way into a build: gzip, base64, cut into chunks
// that fit a ConfigMap each, with the hash to check it by.
type Payload struct {
	Chunks []string
	// SHA256 of the document before compression, in hex.
	SHA256 string
}

// ErrPayload is wrapped by every error of Decode.
var ErrPayload = errors.New("build input is damaged")

// EncodePayload packs a document; the same document gives the same payload.
func EncodePayload(document []byte) (Payload, error) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	if _, err := zw.Write(document); err != nil {
		return Payload{}, fmt.Errorf("compressing build input: %w", err)
	}
	if err := zw.Close(); err != nil {
		return Payload{}, fmt.Errorf("compressing build input: %w", err)
	}
	text := base64.StdEncoding.EncodeToString(packed.Bytes())
	p := Payload{SHA256: names.Content(document)}
	p.Chunks = cut(text)
	return p, nil
}

// cut cuts a text into chunks that fit a ConfigMap each, which is UTF-8, between
// runes. An empty text is one empty chunk.
func cut(text string) []string {
	var chunks []string
	for len(text) > chunkBytes {
		end := chunkBytes
		for end > chunkBytes-utf8.UTFMax && !utf8.RuneStart(text[end]) {
			end--
		}
		chunks = append(chunks, text[:end])
		text = text[end:]
	}
	return append(chunks, text)
}

// Decode puts the document together again and checks it against SHA256.
func (p Payload) Decode() ([]byte, error) {
	packed, err := base64.StdEncoding.DecodeString(strings.Join(p.Chunks, ""))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	document, err := io.ReadAll(io.LimitReader(zr, maxPayloadBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPayload, err)
	}
	if len(document) > maxPayloadBytes {
		return nil, fmt.Errorf("%w: inflates to more than %d MiB", ErrPayload, maxPayloadBytes>>20)
	}
	if got := names.Content(document); got != p.SHA256 {
		return nil, fmt.Errorf("%w: SHA-256 is %s, not %s", ErrPayload, got, p.SHA256)
	}
	return document, nil
}
