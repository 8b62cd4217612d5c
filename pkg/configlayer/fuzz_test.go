package configlayer

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strings"
	"testing"
)

// FuzzBuild lays any config over the test base. Whatever it says, the tar must be
// readable, hold each name once, parents first, and nothing outside of the root.
func FuzzBuild(f *testing.F) {
	for _, row := range buildRows {
		f.Add([]byte(`{"ignition":{"version":"3.4.0"},"storage":{` + row.storage + `}}`))
	}
	for _, row := range unitRows {
		f.Add([]byte(`{"ignition":{"version":"3.4.0"},"systemd":{"units":[` + row.units + `]}}`))
	}
	base := osTree(f)
	deps := osDeps(f, base)
	f.Fuzz(func(t *testing.T, config []byte) {
		if bytes.Count(config, []byte("/")) > 500 {
			return // the work grows with the square of the depth, and shows nothing new
		}
		layer, err := Build(t.Context(), testConfig(string(config)), base, deps)
		if err != nil {
			var refused *ConfigError
			if !errors.As(err, &refused) {
				t.Errorf("not a ConfigError: %v", err)
			}
			return
		}
		checkLayer(t, layer)
	})
}

func checkLayer(t *testing.T, layer *Layer) {
	t.Helper()
	var raw bytes.Buffer
	if err := layer.WriteTar(&raw); err != nil {
		t.Fatal(err)
	}
	seen := map[string]byte{"/": tar.TypeDir}
	archive := tar.NewReader(&raw)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		at := path.Clean("/" + header.Name)
		if strings.Contains(header.Name, "..") && strings.TrimSuffix(header.Name, "/") != strings.TrimPrefix(at, "/") {
			t.Errorf("%q leaves the root", header.Name)
		}
		if seen[path.Dir(at)] != tar.TypeDir {
			t.Errorf("%q comes before its directory", header.Name)
		}
		if _, twice := seen[at]; twice && at != "/" {
			t.Errorf("%q is there twice", header.Name)
		}
		if header.Typeflag == tar.TypeLink && seen["/"+header.Linkname] != tar.TypeReg {
			t.Errorf("%q links to %q, which comes later or never", header.Name, header.Linkname)
		}
		seen[at] = header.Typeflag
	}
}

// FuzzDecodeTree decodes anything. What it accepts must encode to itself.
func FuzzDecodeTree(f *testing.F) {
	for _, tree := range []*Tree{NewTreeBuilder().Tree(), osTree(f), largeTree(f, 50)} {
		var raw bytes.Buffer
		if err := tree.Encode(&raw); err != nil {
			f.Fatal(err)
		}
		zip, err := gzip.NewReader(bytes.NewReader(raw.Bytes()[len(treeMagic):]))
		if err != nil {
			f.Fatal(err)
		}
		plain, err := io.ReadAll(zip)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(plain)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		// the fuzzer knows no gzip: it mutates what lies inside
		var raw bytes.Buffer
		raw.WriteString(treeMagic)
		zip := gzip.NewWriter(&raw)
		if _, err := zip.Write(plain); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		tree, err := DecodeTree(&raw)
		if err != nil {
			if !errors.Is(err, ErrCorruptTree) {
				t.Errorf("error is %v", err)
			}
			return
		}
		for entry := range tree.All() {
			if found, ok := tree.Lookup(entry.Path); !ok || found != entry {
				t.Fatalf("%+v is not found again", entry)
			}
		}
		layer, err := Build(t.Context(), testConfig(configOf(2, 1)), tree, Deps{})
		if err == nil {
			checkLayer(t, layer)
		}
	})
}

// FuzzAddLayer indexes anything that is a tar.
func FuzzAddLayer(f *testing.F) {
	f.Add(osLayer(f), layerTar(f, testNode{spec: "etc/.wh.passwd"}, testNode{spec: "usr/.wh..wh..opq"}))
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		b, below := NewTreeBuilder(), NewTreeBuilder()
		if b.AddLayer("sha256:x", bytes.NewReader(lower)) != nil || below.AddLayer("sha256:x", bytes.NewReader(lower)) != nil {
			return
		}
		grown := below.Tree().Builder()
		err, grownErr := b.AddLayer("sha256:y", bytes.NewReader(upper)), grown.AddLayer("sha256:y", bytes.NewReader(upper))
		if err != nil || grownErr != nil {
			if (err != nil) != (grownErr != nil) {
				t.Errorf("at once: %v; in two parts: %v", err, grownErr)
			}
			return
		}
		var raw, again bytes.Buffer
		if err := b.Tree().Encode(&raw); err != nil {
			t.Fatal(err)
		}
		if err := grown.Tree().Encode(&again); err != nil || !bytes.Equal(raw.Bytes(), again.Bytes()) {
			t.Errorf("a tree that grew differs (%v)", err)
		}
		if _, err := DecodeTree(&raw); err != nil {
			t.Errorf("what was encoded does not decode: %v", err)
		}
	})
}
