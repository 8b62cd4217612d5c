package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

const manifestFile = "manifest.json"

// stepFile is the manifest of the image that a step left.
func stepFile(key string) string { return "step-" + filepath.Base(key) + ".json" }

// ErrRefused is wrapped by every error about what lies in the directory.
var ErrRefused = errors.New("what the steps left is no image to push")

func refuse(what, format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, refusal(what+" "+fmt.Sprintf(format, args...)))
}

// Image is what was handed over, as far as it was read: the layers are read, and
// checked by their digests, when they are opened.
type Image struct {
	Config      *v1.ConfigFile
	Layers      []registry.Blob // those of the base cannot be opened
	Annotations map[string]string
}

// manifest is all that a manifest may hold. A member that is not here is
// refused: it would be pushed without being understood.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        layerList         `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

type descriptor struct {
	MediaType   types.MediaType   `json:"mediaType"`
	Digest      v1.Hash           `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Open reads the image in dir. Each of its layers must lie there as a file or be
// one of present; those that lie there may have limit bytes together. Nothing
// else in the directory is looked at.
func Open(dir string, present []Layer, limit int64) (*Image, error) {
	image, _, err := open(dir, manifestFile, sizes(present), newBudget(limit))
	return image, err
}

// OpenSteps reads the images that single steps left, as Open does, for those of the
// keys that have one.
func OpenSteps(dir string, keys []string, present []Layer, limit int64) (map[string]*Image, error) {
	known, upload, images, documents := sizes(present), newBudget(limit), map[string]*Image{}, int64(0)
	for _, key := range keys {
		if !hasStep(dir, key) {
			continue
		}
		image, m, err := open(dir, stepFile(key), known, upload)
		if err != nil {
			return nil, err
		}
		for _, name := range []string{stepFile(key), m.Config.Digest.Hex} {
			info, err := lookAt(dir, name)
			if err != nil {
				return nil, err
			}
			if documents += info.Size(); documents > maxStepDocuments {
				return nil, refuse(name, "is too much: manifests and configs of all steps may have %d bytes", maxStepDocuments)
			}
		}
		images[key] = image
	}
	return images, nil
}

// DropSteps removes the images of steps, and leaves their files.
func DropSteps(dir string, keys []string) error {
	for _, key := range keys {
		if err := os.Remove(filepath.Join(dir, stepFile(key))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func hasStep(dir, key string) bool {
	_, err := os.Lstat(filepath.Join(dir, stepFile(key)))
	return err == nil
}

func open(dir, name string, known map[string]int64, upload *budget) (*Image, *manifest, error) {
	m, err := readManifest(dir, name)
	if err != nil {
		return nil, nil, err
	}
	image := &Image{Annotations: m.Annotations}
	if image.Config, err = readConfig(dir, m.Config); err != nil {
		return nil, nil, err
	}
	if diffs := len(image.Config.RootFS.DiffIDs); diffs != len(m.Layers) {
		return nil, nil, refuse(name, "names %d layers, its config %d", len(m.Layers), diffs)
	}
	for _, layer := range m.Layers {
		blob, err := openLayer(dir, layer, known)
		if err == nil && blob.Open != nil {
			err = checkUpload(dir, layer, upload)
		}
		if err != nil {
			return nil, nil, err
		}
		image.Layers = append(image.Layers, blob)
	}
	return image, m, nil
}

func readManifest(dir, name string) (*manifest, error) {
	content, err := readDocument(dir, name)
	if err != nil {
		return nil, err
	}
	m := &manifest{}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(m); errors.Is(err, ErrRefused) {
		return nil, err
	} else if err != nil {
		return nil, refuse(name, "does not parse: %v", err)
	}
	return m, nil
}

func readConfig(dir string, config descriptor) (*v1.ConfigFile, error) {
	what := "config " + config.Digest.String()
	if config.MediaType != types.OCIConfigJSON {
		return nil, refuse(what, "is of type %q, want %q", config.MediaType, types.OCIConfigJSON)
	}
	if err := checkHash(what, config.Digest); err != nil {
		return nil, err
	}
	content, err := readDocument(dir, config.Digest.Hex)
	if err != nil {
		return nil, err
	}
	if digest, _, err := v1.SHA256(bytes.NewReader(content)); err != nil || digest != config.Digest {
		return nil, refuse(what, "has the digest %s", digest)
	}
	parsed := &v1.ConfigFile{}
	if err := json.Unmarshal(content, parsed); err != nil {
		return nil, refuse(what, "does not parse: %v", err)
	}
	return parsed, nil
}

func openLayer(dir string, layer descriptor, present map[string]int64) (registry.Blob, error) {
	what := "layer " + layer.Digest.String()
	blob := registry.Blob{Digest: layer.Digest.String(), Size: layer.Size, MediaType: string(layer.MediaType), Annotations: layer.Annotations}
	switch layer.MediaType {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer:
	default:
		return blob, refuse(what, "is of type %q, want a tar, plain or compressed by gzip or zstd", layer.MediaType)
	}
	if err := checkHash(what, layer.Digest); err != nil {
		return blob, err
	}
	size, found := present[blob.Digest]
	if !found {
		info, err := lookAt(dir, layer.Digest.Hex)
		if errors.Is(err, fs.ErrNotExist) {
			return blob, refuse(what, "is neither handed over nor one of the base")
		}
		if err != nil {
			return blob, err
		}
		size = info.Size()
		blob.Open = func() (io.ReadCloser, error) { return openBlob(dir, layer.Digest, layer.Size) }
	}
	if size != layer.Size || size < 1 {
		return blob, refuse(what, "has %d bytes, %s says %d", size, manifestFile, layer.Size)
	}
	return blob, nil
}

// checkUpload bounds what push reads of a file that has the size it should have.
func checkUpload(dir string, layer descriptor, upload *budget) error {
	what := "layer " + layer.Digest.String()
	if err := upload.spend(what, layer.Digest.String(), layer.Size); err != nil {
		return err
	}
	return checkWritten(what, dir, layer.Digest.Hex)
}

// checkHash keeps to the one algorithm whose digits are known to be a file name
// of this directory.
func checkHash(what string, hash v1.Hash) error {
	if hash.Algorithm != "sha256" {
		return refuse(what, "has no SHA-256 for a digest")
	}
	return nil
}

// lookAt finds a file, and nothing but a file that has no second name.
func lookAt(dir, name string) (os.FileInfo, error) {
	info, err := os.Lstat(filepath.Join(dir, name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if !info.Mode().IsRegular() {
		return nil, refuse(name, "is %s, want a file", kind(info.Mode()))
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Nlink != 1 {
		return nil, refuse(name, "is a hard link to another file")
	}
	return info, nil
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	default:
		return "a device"
	}
}

// openFile opens what lookAt found: no link is followed, no pipe waited for.
func openFile(dir, name string) (*os.File, error) {
	found, err := lookAt(dir, name)
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	info, err := file.Stat()
	if err == nil && !os.SameFile(found, info) {
		err = refuse(name, "was replaced while it was opened")
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

func readDocument(dir, name string) ([]byte, error) {
	file, err := openFile(dir, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	content, err := io.ReadAll(io.LimitReader(file, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrRefused, name, err)
	}
	if len(content) > maxDocument {
		return nil, refuse(name, "has more than %d bytes", maxDocument)
	}
	return content, nil
}
