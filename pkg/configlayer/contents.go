package configlayer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"strings"

	"github.com/vincent-petithory/dataurl"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

const (
	// maxContent bounds one file, so that a small compressed content cannot fill
	// the memory.
	maxContent = 256 << 20
	// maxContents bounds all files of one config.
	maxContents = 1 << 30
)

// resource returns what a resource holds: fetched, decompressed, then verified,
// in Ignition's order. at is its place in the config.
func (b *build) resource(ctx context.Context, res ignition.Resource, at string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, &outsideError{err: err}
	}
	source := ""
	if res.Source != nil {
		source = *res.Source
	}
	data, err := b.fetch(ctx, source, res, at)
	if err != nil {
		return nil, err
	}
	if res.Compression != nil && *res.Compression == "gzip" && source != "" {
		if data, err = gunzip(data); err != nil {
			return nil, err
		}
	}
	if len(data) > maxContent {
		return nil, fmt.Errorf("content is larger than %d bytes", maxContent)
	}
	if b.spent += int64(len(data)); b.spent > maxContents {
		return nil, fmt.Errorf("contents are larger than %d bytes together", maxContents)
	}
	if source == "" {
		return data, nil
	}
	return data, verify(res, data)
}

func (b *build) fetch(ctx context.Context, source string, res ignition.Resource, at string) ([]byte, error) {
	if source == "" {
		return nil, nil
	}
	parsed, err := url.Parse(source)
	if err != nil {
		return nil, errors.New("source is no URL")
	}
	switch parsed.Scheme {
	case "data":
		decoded, err := dataurl.DecodeString(parsed.String())
		if err != nil {
			return nil, fmt.Errorf("reading data URL: %w", err)
		}
		return decoded.Data, nil
	case "http", "https":
		if b.deps.Fetch == nil {
			return nil, fmt.Errorf("source %q needs the network, which there is none of here", redacted(parsed))
		}
		header, err := res.HTTPHeaders.Parse()
		if err != nil {
			return nil, fmt.Errorf("reading headers: %w", err)
		}
		data, err := b.deps.Fetch(ctx, Source{URL: source, Header: header, At: at})
		if err != nil {
			return nil, &outsideError{err: fmt.Errorf("fetching %q: %w", redacted(parsed), err)}
		}
		return data, nil
	default:
		return nil, fmt.Errorf("source of scheme %q cannot be fetched while an image is built: use data, http or https", parsed.Scheme)
	}
}

// redacted is a URL for messages: no user, no query, which may hold a token.
func redacted(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func gunzip(data []byte) ([]byte, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decompressing content: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(zip, maxContent+1))
	if err != nil {
		return nil, fmt.Errorf("decompressing content: %w", err)
	}
	return out, nil
}

// verify checks a content against verification.hash.
func verify(res ignition.Resource, data []byte) error {
	if res.Verification.Hash == nil {
		return nil
	}
	kind, wanted, _ := strings.Cut(*res.Verification.Hash, "-")
	var sum hash.Hash
	switch kind {
	case "sha512":
		sum = sha512.New()
	case "sha256":
		sum = sha256.New()
	default:
		return fmt.Errorf("verification hash %q is neither sha512 nor sha256", kind)
	}
	sum.Write(data)
	if got := hex.EncodeToString(sum.Sum(nil)); got != strings.ToLower(wanted) {
		return fmt.Errorf("content has %s %s, not %s", kind, got, wanted)
	}
	return nil
}
