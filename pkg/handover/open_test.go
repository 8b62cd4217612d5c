package handover_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
)

const secret = `{"auths":{"registry.example.com":{"auth":"aHVudGVyMg=="}}}`

// limit is how much the layers of a box may have.
const limit = 8 << 20

// box is a hand-over that is good until a test spoils it.
type box struct {
	t        testing.TB
	dir      string
	outside  string // a file that holds the secret
	manifest map[string]any
	config   string // digests
	layer    string
	base     string
	present  []handover.Layer
	filled   int // layers
}

func digestOf(content []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(content)) }

func file(digest string) string { return strings.TrimPrefix(digest, "sha256:") }

var newLayer = bytes.Repeat([]byte("layer"), 1000)

func newBox(t testing.TB) *box {
	b := &box{t: t, dir: t.TempDir(), base: digestOf([]byte("base")), layer: digestOf(newLayer)}
	b.outside = filepath.Join(t.TempDir(), "secret")
	b.must(os.WriteFile(b.outside, []byte(secret), 0o600))
	b.present = []handover.Layer{{Digest: b.base, Size: 4}}
	b.write(file(b.layer), newLayer)
	b.manifest = map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"layers": []any{b.describe(b.base, 4), b.describe(b.layer, len(newLayer))},
	}
	b.setConfig(fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Labels":{"a":"b"}},"rootfs":{"type":"layers","diff_ids":[%q,%q]}}`, b.base, b.layer))
	b.save()
	return b
}

func (b *box) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) write(name string, content []byte) {
	b.t.Helper()
	b.must(os.WriteFile(filepath.Join(b.dir, name), content, 0o600))
}

func (b *box) describe(digest string, size int) map[string]any {
	return map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digest, "size": size}
}

func (b *box) setConfig(text string) {
	b.t.Helper()
	b.config = digestOf([]byte(text))
	b.write(file(b.config), []byte(text))
	b.manifest["config"] = map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": b.config, "size": len(text)}
}

func (b *box) save() {
	b.t.Helper()
	content, err := json.Marshal(b.manifest)
	b.must(err)
	b.write("manifest.json", content)
}

// replace puts something else in the place of a file.
func (b *box) replace(name string, put func(path string) error) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	b.must(os.Remove(path))
	b.must(put(path))
}

func (b *box) layers(layers ...any) {
	b.t.Helper()
	b.manifest["layers"] = layers
	b.save()
}

// sparse names a new layer of that size, for which no block was written.
func (b *box) sparse(size int64) {
	b.t.Helper()
	other := digestOf([]byte("sparse"))
	b.write(file(other), nil)
	b.must(os.Truncate(filepath.Join(b.dir, file(other)), size))
	b.layers(b.describe(b.base, 4), b.describe(other, int(size)))
}

// fill makes a new layer of that size, of which every block is written. It has
// another digest each time, not its own.
func (b *box) fill(size int) map[string]any {
	b.t.Helper()
	b.filled++
	other := digestOf([]byte{byte(b.filled)})
	b.write(file(other), bytes.Repeat([]byte("x"), size))
	return b.describe(other, size)
}

// diffs is a config of so many layers.
func (b *box) diffs(n int) {
	b.t.Helper()
	diffs, err := json.Marshal(slices.Repeat([]string{b.base}, n))
	b.must(err)
	b.setConfig(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":` + string(diffs) + `}}`)
	b.save()
}

func symlink(to string) func(string) error {
	return func(path string) error { return os.Symlink(to, path) }
}

func pipe(path string) error { return syscall.Mkfifo(path, 0o600) }

func directory(path string) error { return os.Mkdir(path, 0o700) }

func TestHostileHandoverIsRefused(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*box)
		want  string
	}{
		{"manifest: link to a file of the container", func(b *box) { b.replace("manifest.json", symlink(b.outside)) }, "manifest.json is a symbolic link, want a file"},
		{"manifest: named pipe", func(b *box) { b.replace("manifest.json", pipe) }, "manifest.json is a named pipe, want a file"},
		{"manifest: directory", func(b *box) { b.replace("manifest.json", directory) }, "manifest.json is a directory, want a file"},
		{"manifest: missing", func(b *box) { b.must(os.Remove(filepath.Join(b.dir, "manifest.json"))) }, "manifest.json: no such file"},
		{"manifest: hard link", func(b *box) {
			b.replace("manifest.json", func(path string) error { return os.Link(b.outside, path) })
		}, "manifest.json is a hard link"},
		{"manifest: huge", func(b *box) { b.must(os.Truncate(filepath.Join(b.dir, "manifest.json"), 1<<40)) }, "manifest.json has more than 4194304 bytes"},
		{"manifest: no JSON", func(b *box) { b.write("manifest.json", []byte(secret[:20])) }, "manifest.json does not parse"},
		{"manifest: of another kind", func(b *box) { b.write("manifest.json", []byte(secret)) }, `unknown field "auths"`},
		{"manifest: deep", func(b *box) { b.write("manifest.json", bytes.Repeat([]byte(`{"annotations":`), 1<<18)) }, "manifest.json does not parse"},
		{"manifest: a member that is not understood", func(b *box) {
			b.manifest["subject"] = b.describe(b.base, 4)
			b.save()
		}, `unknown field "subject"`},
		{"manifest: content from elsewhere", func(b *box) {
			layer := b.describe(b.layer, len(newLayer))
			layer["urls"] = []string{"https://example.com/layer"}
			b.layers(b.describe(b.base, 4), layer)
		}, `unknown field "urls"`},
		{"manifest: bomb of layers", func(b *box) {
			bomb := make([]any, 501)
			for i := range bomb {
				bomb[i] = b.describe(b.layer, len(newLayer))
			}
			b.layers(bomb...)
		}, "manifest.json names more than 500 layers"},
		{"manifest: more layers than there is memory for", func(b *box) {
			b.write("manifest.json", []byte(`{"layers":[null`+strings.Repeat(",{}", 1<<20)+`]}`))
		}, "manifest.json names more than 500 layers"},
		{"manifest: layers that are no list", func(b *box) { b.write("manifest.json", []byte(`{"layers":{"a":1}}`)) }, "manifest.json does not parse"},
		{"manifest: a member with a long name", func(b *box) {
			b.manifest[strings.Repeat("x", 3<<20)] = 1
			b.save()
		}, `unknown field "xxx`},
		{"layer: a type with a long name", func(b *box) {
			layer := b.describe(b.layer, len(newLayer))
			layer["mediaType"] = strings.Repeat("ä", 1<<20)
			b.layers(b.describe(b.base, 4), layer)
		}, `is of type "ää`},
		{"layer: a digest that is none, and long", func(b *box) {
			b.layers(b.describe(b.base, 4), b.describe(strings.Repeat("x", 3<<20), 1))
		}, "manifest.json does not parse"},
		{"layers: other than the config's", func(b *box) { b.layers(b.describe(b.layer, len(newLayer))) }, "manifest.json names 1 layers, its config 2"},
		{"layer: neither there nor of the base", func(b *box) {
			other := digestOf([]byte("other"))
			b.layers(b.describe(b.base, 4), b.describe(other, 5))
		}, digestOf([]byte("other")) + " is neither handed over nor one of the base"},
		{"layer: path for a digest", func(b *box) {
			b.layers(b.describe(b.base, 4), b.describe("sha256:../"+filepath.Base(filepath.Dir(b.outside))+"/secret", len(secret)))
		}, "manifest.json does not parse"},
		{"layer: path for an algorithm", func(b *box) {
			b.layers(b.describe(b.base, 4), b.describe("../secret:"+strings.Repeat("0", 64), 1))
		}, "manifest.json does not parse"},
		{"layer: no digest", func(b *box) {
			b.layers(b.describe(b.base, 4), map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar", "size": 1})
		}, "has no SHA-256 for a digest"},
		{"layer: link to a file of the container", func(b *box) { b.replace(file(b.layer), symlink(b.outside)) }, "is a symbolic link, want a file"},
		{"layer: link to another blob", func(b *box) { b.replace(file(b.layer), symlink(file(b.config))) }, "is a symbolic link, want a file"},
		{"layer: hard link", func(b *box) {
			b.replace(file(b.layer), func(path string) error { return os.Link(b.outside, path) })
		}, "is a hard link"},
		{"layer: named pipe", func(b *box) { b.replace(file(b.layer), pipe) }, "is a named pipe, want a file"},
		{"layer: directory", func(b *box) { b.replace(file(b.layer), directory) }, "is a directory, want a file"},
		{"layer: socket", func(b *box) {
			b.replace(file(b.layer), func(path string) error { return socket(b.t, path) })
		}, "is a socket, want a file"},
		{"layer: longer than it says", func(b *box) { b.write(file(b.layer), append([]byte("x"), newLayer...)) }, "has 5001 bytes, manifest.json says 5000"},
		{
			"layer: of many TiB, for which nothing was written", func(b *box) { b.sparse(1 << 42) },
			"has 4398046511104 bytes: all that is handed over may have 8388608",
		},
		{"layer: smaller, for which nothing was written", func(b *box) { b.sparse(4 << 20) }, "has 4194304 bytes, of which only 0 were written"},
		{"layers: together more than the volume holds", func(b *box) {
			layers := []any{b.describe(b.base, 4)}
			for range 3 {
				layers = append(layers, b.fill(3<<20))
			}
			b.layers(layers...)
			b.diffs(4)
		}, "has 3145728 bytes: all that is handed over may have 8388608, and 6291456 are of other layers"},
		{"layer: empty", func(b *box) {
			b.write(file(digestOf(nil)), nil)
			b.layers(b.describe(b.base, 4), b.describe(digestOf(nil), 0))
		}, "has 0 bytes"},
		{"layer: negative size", func(b *box) { b.layers(b.describe(b.base, 4), b.describe(b.layer, -1)) }, "manifest.json says -1"},
		{"layer: of the base, with another size", func(b *box) { b.layers(b.describe(b.base, 5), b.describe(b.layer, len(newLayer))) }, "has 4 bytes, manifest.json says 5"},
		{"layer: foreign type", func(b *box) {
			layer := b.describe(b.layer, len(newLayer))
			layer["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
			b.layers(b.describe(b.base, 4), layer)
		}, `is of type "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"`},
		{"config: of another type", func(b *box) {
			config := b.describe(b.config, 0)
			config["mediaType"] = "application/vnd.oci.empty.v1+json"
			b.manifest["config"] = config
			b.save()
		}, `is of type "application/vnd.oci.empty.v1+json", want "application/vnd.oci.image.config.v1+json"`},
		{"config: wrong digest", func(b *box) { b.write(file(b.config), []byte("{}")) }, "has the digest " + digestOf([]byte("{}"))},
		{"config: link to a file of the container", func(b *box) { b.replace(file(b.config), symlink(b.outside)) }, "is a symbolic link, want a file"},
		{"config: huge", func(b *box) { b.must(os.Truncate(filepath.Join(b.dir, file(b.config)), 1<<40)) }, "has more than 4194304 bytes"},
		{"config: missing", func(b *box) { b.must(os.Remove(filepath.Join(b.dir, file(b.config)))) }, "no such file"},
		{"config: no JSON", func(b *box) {
			b.setConfig("hello")
			b.save()
		}, "does not parse"},
		{"config: none named", func(b *box) {
			delete(b.manifest, "config")
			b.save()
		}, `is of type ""`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBox(t)
			test.spoil(b)
			_, err := handover.Open(b.dir, b.present, limit)
			if !errors.Is(err, handover.ErrRefused) || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error = %v\nwant it to contain %q", err, test.want)
			}
			if len(err.Error()) > 1000 || !utf8.ValidString(err.Error()) {
				t.Errorf("the error has %d bytes: %.200q", len(err.Error()), err)
			}
			if strings.Contains(err.Error(), "aHVudGVyMg") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

func socket(t testing.TB, path string) error {
	// The name of a socket has little room.
	t.Chdir(filepath.Dir(path))
	listen, err := net.Listen("unix", filepath.Base(path))
	if err == nil {
		t.Cleanup(func() { _ = listen.Close() })
	}
	return err
}

// TestDeviceIsNotOpened needs a device, which root alone can make.
func TestDeviceIsNotOpened(t *testing.T) {
	b := newBox(t)
	b.must(os.Remove(filepath.Join(b.dir, "manifest.json")))
	if err := syscall.Mknod(filepath.Join(b.dir, "manifest.json"), syscall.S_IFCHR|0o600, 1<<8|5); err != nil {
		t.Skipf("a device cannot be made by this user: %v", err)
	}
	if _, err := handover.Open(b.dir, b.present, limit); !errors.Is(err, handover.ErrRefused) || !strings.Contains(err.Error(), "manifest.json is a device, want a file") {
		t.Errorf("error = %v", err)
	}
}

// TestLayerIsCheckedWhileItIsRead: who reads another content gets an error and
// never the whole of it.
func TestLayerIsCheckedWhileItIsRead(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*box)
		want  string
	}{
		{"another content", func(b *box) { b.write(file(b.layer), bytes.Repeat([]byte("Layer"), 1000)) }, "has the digest sha256:"},
		{"cut off", func(b *box) { b.must(os.Truncate(filepath.Join(b.dir, file(b.layer)), 100)) }, "became shorter"},
		{"replaced by a link", func(b *box) { b.replace(file(b.layer), symlink(b.outside)) }, "is a symbolic link"},
		{"replaced by a pipe", func(b *box) { b.replace(file(b.layer), pipe) }, "is a named pipe"},
		{"gone", func(b *box) { b.must(os.Remove(filepath.Join(b.dir, file(b.layer)))) }, "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBox(t)
			image, err := handover.Open(b.dir, b.present, limit)
			b.must(err)
			test.spoil(b)
			content, err := read(image.Layers[1].Open)
			if !errors.Is(err, handover.ErrRefused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want it to contain %q", err, test.want)
			}
			if len(content) >= len(newLayer) {
				t.Errorf("%d bytes were given out", len(content))
			}
		})
	}
}

func read(open func() (io.ReadCloser, error)) ([]byte, error) {
	stream, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	return io.ReadAll(stream)
}

// TestGrownLayerIsReadAsItWasChecked: what was added is not passed on.
func TestGrownLayerIsReadAsItWasChecked(t *testing.T) {
	b := newBox(t)
	image, err := handover.Open(b.dir, b.present, limit)
	b.must(err)
	b.write(file(b.layer), append(bytes.Clone(newLayer), secret...))
	if content, err := read(image.Layers[1].Open); err != nil || !bytes.Equal(content, newLayer) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
}

func TestWhatTheManifestDoesNotNameIsNotLookedAt(t *testing.T) {
	b := newBox(t)
	b.must(os.Symlink(b.outside, filepath.Join(b.dir, "upload-1")))
	b.must(syscall.Mkfifo(filepath.Join(b.dir, strings.Repeat("0", 64)), 0o600))
	image, err := handover.Open(b.dir, b.present, limit)
	if err != nil || len(image.Layers) != 2 {
		t.Errorf("image = %+v, %v", image, err)
	}
}

// TestLayersUpToTheLimitAreTaken: they are as large as they say, whether or not
// one is named twice.
func TestLayersUpToTheLimitAreTaken(t *testing.T) {
	b := newBox(t)
	half := b.fill(limit / 2)
	b.layers(b.describe(b.base, 4), half, half, b.fill(limit/2))
	b.diffs(4)
	if image, err := handover.Open(b.dir, b.present, limit); err != nil || len(image.Layers) != 4 {
		t.Errorf("image = %+v, %v", image, err)
	}
}
