package configlayer

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"testing"
)

func paths(tree *Tree) string {
	var out []string
	for entry := range tree.All() {
		text := fmt.Sprintf("%s %d %04o", entry.Path, entry.Type, entry.Mode)
		if entry.Link != "" {
			text += " -> " + entry.Link
		}
		out = append(out, fmt.Sprintf("%s @%d", text, entry.Layer))
	}
	return strings.Join(out[1:], "\n")
}

func TestTreeLayers(t *testing.T) {
	lower := []testNode{
		{spec: "./a/", mode: 0o700},
		{spec: "./a/x", mode: 0o600},
		{spec: "./a/y", mode: 0o600},
		{spec: "a/sub/", mode: 0o755},
		{spec: "a/sub/z", mode: 0o600},
		{spec: "l -> a"},
	}
	for _, row := range []struct {
		name  string
		upper []testNode
		want  string
	}{
		{"nothing", nil, "/a 1 0700 @0\n/a/sub 1 0755 @0\n/a/sub/z 2 0600 @0\n/a/x 2 0600 @0\n/a/y 2 0600 @0\n/l 3 0777 -> a @0"},
		{"whiteout", []testNode{{spec: "a/.wh.x"}, {spec: "a/.wh.sub"}, {spec: "a/.wh.gone"}}, "/a 1 0700 @0\n/a/y 2 0600 @0\n/l 3 0777 -> a @0"},
		{"whiteout and again", []testNode{{spec: "a/x", mode: 0o644}, {spec: "a/.wh.x"}, {spec: "a/.wh.sub"}, {spec: "a/sub/new", mode: 0o644}}, "/a 1 0700 @0\n/a/sub 1 0755 @1\n/a/sub/new 2 0644 @1\n/a/x 2 0644 @1\n/a/y 2 0600 @0\n/l 3 0777 -> a @0"},
		{"opaque", []testNode{{spec: "a/", mode: 0o711}, {spec: "a/n", mode: 0o644}, {spec: "a/.wh..wh..opq"}}, "/a 1 0711 @1\n/a/n 2 0644 @1\n/l 3 0777 -> a @0"},
		{"file over directory", []testNode{{spec: "a", mode: 0o644}}, "/a 2 0644 @1\n/l 3 0777 -> a @0"},
		{"directory over file", []testNode{{spec: "a/x/", mode: 0o750}, {spec: "a/x/y", mode: 0o644}}, "/a 1 0700 @0\n/a/sub 1 0755 @0\n/a/sub/z 2 0600 @0\n/a/x 1 0750 @1\n/a/x/y 2 0644 @1\n/a/y 2 0600 @0\n/l 3 0777 -> a @0"},
		{"through a link", []testNode{{spec: "l/x", mode: 0o644}, {spec: "l/.wh.y"}, {spec: "../../a/.wh.sub"}}, "/a 1 0700 @0\n/a/x 2 0644 @1\n/l 3 0777 -> a @0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			tree := testTree(t, layerTar(t, lower...), layerTar(t, row.upper...))
			got := paths(tree)
			if got != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, row.want)
			}
			below := testTree(t, layerTar(t, lower...))
			grown := below.Builder()
			if err := grown.AddLayer(tree.Layers()[1], bytes.NewReader(layerTar(t, row.upper...))); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(grown.Tree(), tree) {
				t.Error("a tree that grew differs")
			}
			if !reflect.DeepEqual(below, testTree(t, layerTar(t, lower...))) {
				t.Error("the tree below changed")
			}
		})
	}
}

func TestTreeErrors(t *testing.T) {
	for name, layer := range map[string][]byte{
		"hard link to nothing":      layerTar(t, testNode{spec: "a = b"}),
		"hard link to a directory":  layerTar(t, testNode{spec: "b/", mode: 0o755}, testNode{spec: "a = b"}),
		"loop on the way":           layerTar(t, testNode{spec: "a -> a"}, testNode{spec: "a/b", mode: 0o644}),
		"long name":                 layerTar(t, testNode{spec: strings.Repeat("n/", 4000), mode: 0o755}),
		"no tar":                    []byte(strings.Repeat("x", 1024)),
		"cut off":                   layerTar(t, testNode{spec: "etc/passwd", mode: 0o644, text: "root"})[:513],
		"root that is no directory": layerTar(t, testNode{spec: ".", mode: 0o644}),
	} {
		if err := NewTreeBuilder().AddLayer("sha256:x", bytes.NewReader(layer)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTreeMember(t *testing.T) {
	tree := testTree(t,
		layerTar(t, testNode{spec: "./real/", mode: 0o755}, testNode{spec: "./real/f", mode: 0o644}, testNode{spec: "link -> real"}),
		layerTar(t, testNode{spec: "link/g", mode: 0o644}, testNode{spec: "real/h = real/f"}, testNode{spec: "a = real/f"}))
	for _, row := range []struct{ path, want string }{
		{"/real/f", "sha256:0 real/f"}, {"/real/h", "sha256:0 real/f"}, {"/a", "sha256:0 real/f"}, {"/real/g", "sha256:1 link/g"},
	} {
		layer, name, err := tree.Member(row.path)
		if got := layer + " " + name; got != row.want || err != nil {
			t.Errorf("%s: %s, %v", row.path, got, err)
		}
	}
	for path, missing := range map[string]bool{"/real": false, "/link": false, "/link/g": true, "real/f": true, "/real/": true, "/no": true} {
		if _, _, err := tree.Member(path); err == nil || errors.Is(err, fs.ErrNotExist) != missing {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTreeEncode(t *testing.T) {
	for name, tree := range map[string]*Tree{"empty": NewTreeBuilder().Tree(), "os": osTree(t), "large": largeTree(t, 2_000)} {
		t.Run(name, func(t *testing.T) {
			var first, second bytes.Buffer
			if err := tree.Encode(&first); err != nil {
				t.Fatal(err)
			}
			again, err := DecodeTree(bytes.NewReader(first.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(again, tree) {
				t.Errorf("decoded tree differs:\n%+v\n%+v", again, tree)
			}
			if err := again.Encode(&second); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first.Bytes(), second.Bytes()) {
				t.Error("bytes differ")
			}
		})
	}
}

// TestTreeSize keeps the index small enough to be kept beside every image.
func TestTreeSize(t *testing.T) {
	for n, limit := range map[int]int{10_000: 150_000, 100_000: 1_000_000} {
		var raw bytes.Buffer
		if err := largeTree(t, n).Encode(&raw); err != nil {
			t.Fatal(err)
		}
		if raw.Len() > limit {
			t.Errorf("%d paths take %d bytes", n, raw.Len())
		}
	}
}

func TestDecodeTreeErrors(t *testing.T) {
	var raw bytes.Buffer
	if err := osTree(t).Encode(&raw); err != nil {
		t.Fatal(err)
	}
	good := raw.Bytes()
	for i := range good {
		if _, err := DecodeTree(bytes.NewReader(good[:i])); !errors.Is(err, ErrCorruptTree) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	other := append([]byte(nil), good...)
	other[len(treeMagic)-1]++
	if _, err := DecodeTree(bytes.NewReader(other)); !errors.Is(err, ErrTreeVersion) {
		t.Errorf("other version: %v", err)
	}
	if _, err := DecodeTree(strings.NewReader("something else entirely")); !errors.Is(err, ErrCorruptTree) {
		t.Errorf("no magic: %v", err)
	}
}

func TestKeep(t *testing.T) {
	for path, want := range map[string]bool{
		"/usr/lib/systemd/system/a.service":                true,
		"/usr/lib/systemd/system/a.service.d/x.conf":       true,
		"/etc/systemd/system/multi-user.target.wants/a.so": false,
		"/usr/lib/systemd/system/a.txt":                    false,
		"/usr/lib/systemd/user/a.service":                  false,
		"/lib/systemd/system/t@.timer":                     true,
	} {
		if got := isUnitFile(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
