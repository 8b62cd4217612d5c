package handover

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// Form is how the new layers of an image are to look.
type Form struct {
	// Base are the digests of the tars of the base's layers, which stay as they are.
	Base []string
	// Epoch is the latest time that a file may carry.
	Epoch       time.Time
	Compression registry.Compression
}

// Settled are layers that were written anew, by the digests that they had.
type Settled map[v1.Hash]layerFile

// Before are these layers as they were. They lie in the directory under other names.
func (s Settled) Before() []Layer {
	var layers []Layer
	for digest, file := range s {
		layers = append(layers, Layer{Digest: digest.String(), Size: file.before})
	}
	return layers
}

// Settle writes the new layers in dir anew, so that they are a function of what
// lies in them and not of when they were made: no file is younger than the
// epoch, and only the time of modification is told, in whole seconds. Who calls
// it holds no credential: it parses what the steps left.
func Settle(ctx context.Context, dir string, present []Layer, form Form) (Settled, error) {
	settled := Settled{}
	old, err := settled.image(ctx, dir, manifestFile, sizes(present), form)
	if err != nil {
		return nil, err
	}
	return settled, removeAll(dir, old)
}

// Steps settles the images that single steps left, for those of the keys that have
// one. Layers that were settled already are not written again.
func (s Settled) Steps(ctx context.Context, dir string, keys []string, present []Layer, form Form) error {
	known := sizes(append(s.Before(), present...))
	var configs []v1.Hash // two steps may have left the same image
	for _, key := range keys {
		if !hasStep(dir, key) {
			continue
		}
		old, err := s.image(ctx, dir, stepFile(key), known, form)
		if err != nil {
			return fmt.Errorf("settling what a step left: %w", err)
		}
		configs = append(configs, old...)
		known = sizes(append(s.Before(), present...))
	}
	return removeAll(dir, configs)
}

// image settles one, and returns the config that is to go then.
func (s Settled) image(ctx context.Context, dir, name string, known map[string]int64, form Form) (old []v1.Hash, err error) {
	image, manifest, err := open(dir, name, known, newBudget(MaxBytes))
	if err != nil {
		return nil, err
	}
	diffs := image.Config.RootFS.DiffIDs
	for i := range manifest.Layers {
		layer := &manifest.Layers[i]
		file, done := s[layer.Digest]
		if !done {
			if image.Layers[i].Open == nil || slices.Contains(form.Base, diffs[i].String()) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("settling layer %s: %w", layer.Digest, err)
			}
			if file, err = settleLayer(ctx, dir, image.Layers[i].Open, form); err != nil {
				return nil, fmt.Errorf("settling layer %s: %w", layer.Digest, err)
			}
			file.before = layer.Size
			s[layer.Digest] = file
			if err := removeOther(dir, layer.Digest, file.digest); err != nil {
				return nil, err
			}
		}
		layer.Digest, layer.Size, layer.MediaType = file.digest, file.size, form.Compression.MediaType()
		diffs[i] = file.diff
	}
	config := manifest.Config.Digest
	if err := writeDocuments(dir, name, manifest, image.Config); err != nil || config == manifest.Config.Digest {
		return nil, err
	}
	return []v1.Hash{config}, nil
}

// layerFile is a layer that was written.
type layerFile struct {
	digest, diff v1.Hash
	size, before int64 // compressed, and what it was
}

func settleLayer(ctx context.Context, dir string, open func() (io.ReadCloser, error), form Form) (written layerFile, err error) {
	content, err := open()
	if err != nil {
		return written, err
	}
	plain, err := registry.Decompress(content)
	if err != nil {
		_ = content.Close()
		return written, refuse("it", "does not decompress: %v", err)
	}
	defer func() { _ = plain.Close() }()
	file, err := os.CreateTemp(dir, "settled-")
	if err != nil {
		return written, err
	}
	defer func() {
		err = errors.Join(err, file.Close())
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	digest, diff, size := sha256.New(), sha256.New(), &counter{}
	out := &sink{to: file}
	zip, err := form.Compression.Writer(io.MultiWriter(out, digest, size))
	if err != nil {
		return written, err
	}
	if err := settleTar(ctx, plain, io.MultiWriter(zip, diff), form.Epoch); err != nil {
		// What the steps left is not to blame for a full volume.
		return written, cmp.Or(out.err, err)
	}
	// What follows the tar's end still counts for the digest.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return written, refuse("it", "does not decompress: %v", err)
	}
	if err := zip.Close(); err != nil {
		return written, err
	}
	written = layerFile{digest: hashOf(digest.Sum(nil)), diff: hashOf(diff.Sum(nil)), size: size.bytes}
	return written, os.Rename(file.Name(), filepath.Join(dir, written.digest.Hex))
}

// settleTar copies a tar and keeps its order, which is that of the names: so
// containers/storage writes it.
func settleTar(ctx context.Context, from io.Reader, to io.Writer, epoch time.Time) error {
	in, out := tar.NewReader(from), tar.NewWriter(to)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out.Close()
		}
		if err != nil {
			return refuse("its tar", "does not read: %v", err)
		}
		settleTimes(header, epoch)
		if err := out.WriteHeader(header); err != nil {
			return refuse("its tar", "cannot hold %q: %v", header.Name, err)
		}
		if _, err := io.Copy(out, in); err != nil {
			return refuse("its tar", "ends within %q: %v", header.Name, err)
		}
	}
}

// settleTimes leaves the format to the writer, which takes PAX records for what
// needs them alone.
func settleTimes(header *tar.Header, epoch time.Time) {
	if header.ModTime.After(epoch) {
		header.ModTime = epoch
	}
	header.ModTime = header.ModTime.Truncate(time.Second)
	header.AccessTime, header.ChangeTime = time.Time{}, time.Time{}
	header.Format = tar.FormatUnknown
}

func removeOther(dir string, old, written v1.Hash) error {
	if old == written {
		return nil
	}
	return os.Remove(filepath.Join(dir, old.Hex))
}

func removeAll(dir string, files []v1.Hash) error {
	for _, file := range files {
		if err := os.Remove(filepath.Join(dir, file.Hex)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// writeDocuments writes the config, under its new digest, and the manifest.
func writeDocuments(dir, name string, m *manifest, config *v1.ConfigFile) error {
	content, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encoding image config: %w", err)
	}
	if m.Config.Digest, m.Config.Size, err = v1.SHA256(bytes.NewReader(content)); err != nil {
		return fmt.Errorf("encoding image config: %w", err)
	}
	if err := replaceFile(dir, m.Config.Digest.Hex, content); err != nil {
		return err
	}
	if content, err = json.Marshal(m); err != nil {
		return fmt.Errorf("encoding manifest: %w", err)
	}
	return replaceFile(dir, name, content)
}

// replaceFile writes a file of its own and follows no link.
func replaceFile(dir, name string, content []byte) error {
	file, err := os.CreateTemp(dir, "settled-")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), filepath.Join(dir, name))
}

func hashOf(sum []byte) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum)} }

// sink remembers why it could not be written to.
type sink struct {
	to  io.Writer
	err error
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	s.err = cmp.Or(s.err, err)
	return n, err
}

// counter counts what is written.
type counter struct{ bytes int64 }

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}
