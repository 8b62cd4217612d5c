package configlayer

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
)

// testNode is an entry of a base layer. A path that ends in "/" is a directory;
// "a -> b" is a symbolic link, "a = b" a hard link.
type testNode struct {
	spec     string
	mode     int64
	uid, gid int
	text     string
	xattrs   map[string]string
}

// layerTar writes one layer.
func layerTar(t testing.TB, nodes ...testNode) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, n := range nodes {
		header := tar.Header{Typeflag: tar.TypeReg, Name: n.spec, Mode: n.mode, Uid: n.uid, Gid: n.gid, Size: int64(len(n.text))}
		if name, target, ok := strings.Cut(n.spec, " -> "); ok {
			header.Typeflag, header.Name, header.Linkname = tar.TypeSymlink, name, target
		} else if name, target, ok := strings.Cut(n.spec, " = "); ok {
			header.Typeflag, header.Name, header.Linkname = tar.TypeLink, name, target
		} else if strings.HasSuffix(n.spec, "/") {
			header.Typeflag = tar.TypeDir
		}
		header.PAXRecords = map[string]string{}
		for key, value := range n.xattrs {
			header.PAXRecords[xattrRecord+key] = value
		}
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(archive, n.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// testTree indexes layers, lowest first.
func testTree(t testing.TB, layers ...[]byte) *Tree {
	t.Helper()
	b := NewTreeBuilder()
	for i, layer := range layers {
		if err := b.AddLayer(fmt.Sprintf("sha256:%d", i), bytes.NewReader(layer)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Tree()
}

// osLayer is the base that most tests lay configs over.
func osLayer(t testing.TB) []byte {
	t.Helper()
	return layerTar(t,
		testNode{spec: "etc/", mode: 0o755}, testNode{spec: "root/", mode: 0o700}, testNode{spec: "tmp/", mode: 0o1777},
		testNode{spec: "usr/", mode: 0o755}, testNode{spec: "usr/lib/", mode: 0o755}, testNode{spec: "usr/bin/", mode: 0o755},
		testNode{spec: "var/", mode: 0o755}, testNode{spec: "var/usrlocal/", mode: 0o755}, testNode{spec: "var/mail/", mode: 0o2775, gid: 8},
		testNode{spec: "lib -> usr/lib"}, testNode{spec: "opt -> var/opt"}, testNode{spec: "usr/local -> ../var/usrlocal"},
		testNode{spec: "out -> ../../../../etc"}, testNode{spec: "loop -> loop"}, testNode{spec: "nowhere -> gone1"}, testNode{spec: "gone1 -> gone2"},
		testNode{spec: "etc/passwd", mode: 0o644, text: "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nbob:x:1001:1002::/:/bin/sh\nbad:x:no:1::/:\n"},
		testNode{spec: "etc/group", mode: 0o644, text: "root:x:0:\nmail:x:8:\n"},
		testNode{spec: "usr/lib/passwd", mode: 0o644, text: "core:x:1000:1000::/:/bin/sh\n"},
		testNode{spec: "etc/hostname", mode: 0o644, text: "base\n"},
		testNode{spec: "etc/conf.d/", mode: 0o750, gid: 3}, testNode{spec: "etc/conf.d/a", mode: 0o644, text: "a\n"},
		testNode{spec: "etc/conf.d/deep/", mode: 0o755}, testNode{spec: "etc/conf.d/deep/c", mode: 0o644, text: "c\n"},
		testNode{spec: "usr/bin/tool", mode: 0o4755, text: "tool\n", xattrs: map[string]string{xattrCapability: "cap", "user.note": "kept"}},
		testNode{spec: "usr/bin/alias = usr/bin/tool"},
		testNode{spec: "usr/lib/systemd/", mode: 0o755}, testNode{spec: "usr/lib/systemd/system/", mode: 0o755},
		testNode{spec: "usr/lib/systemd/system/base.service", mode: 0o644, text: "[Unit]\nDescription=x\n[Install]\nWantedBy=multi-user.target\nAlias=other.service\n"},
		testNode{spec: "usr/lib/systemd/system/static.service", mode: 0o644, text: "[Service]\nExecStart=/x\n"},
		testNode{spec: "usr/lib/systemd/system/tpl@.service", mode: 0o644, text: "[Install]\nWantedBy=%p.target\nDefaultInstance=zero\n"},
		testNode{spec: "usr/lib/systemd/system/alias.service -> base.service"},
		testNode{spec: "etc/systemd/", mode: 0o755}, testNode{spec: "etc/systemd/system/", mode: 0o755},
		testNode{spec: "etc/systemd/system/masked.service -> /dev/null"},
		testNode{spec: "etc/systemd/system/on.service", mode: 0o644, text: "[Install]\nWantedBy=multi-user.target\n"},
		testNode{spec: "etc/systemd/system/multi-user.target.wants/", mode: 0o755},
		testNode{spec: "etc/systemd/system/multi-user.target.wants/on.service -> /etc/systemd/system/on.service"},
	)
}

func osTree(t testing.TB) *Tree { return testTree(t, osLayer(t)) }

// osDeps reads files of osLayer.
func osDeps(t testing.TB, tree *Tree) Deps {
	t.Helper()
	raw := osLayer(t)
	return Deps{ReadBase: func(_ context.Context, at string) ([]byte, error) {
		_, name, err := tree.Member(at)
		if err != nil {
			return nil, err
		}
		archive := tar.NewReader(bytes.NewReader(raw))
		for {
			header, err := archive.Next()
			if err != nil {
				return nil, fs.ErrNotExist
			}
			if header.Name == name {
				return io.ReadAll(archive)
			}
		}
	}}
}

func testConfig(config string) *mcfgv1.MachineConfig {
	mc := &mcfgv1.MachineConfig{}
	mc.Name = "rendered-worker-1"
	mc.Spec.Config.Raw = []byte(config)
	return mc
}

// listing describes a layer, one line an entry.
func listing(t testing.TB, layer *Layer) string {
	t.Helper()
	var raw bytes.Buffer
	if err := layer.WriteTar(&raw); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	archive := tar.NewReader(&raw)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%c %04o %d:%d %s", header.Typeflag, header.Mode, header.Uid, header.Gid, header.Name)
		if header.Linkname != "" {
			fmt.Fprintf(&out, " -> %s", header.Linkname)
		}
		if header.Typeflag == tar.TypeReg {
			text, err := io.ReadAll(archive)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&out, " %q", text)
		}
		for key, value := range header.PAXRecords {
			if strings.HasPrefix(key, xattrRecord) {
				fmt.Fprintf(&out, " %s=%s", key, value)
			}
		}
		if header.ModTime.Unix() != 0 || header.Uname != "" || header.Gname != "" {
			t.Errorf("%s: time %v, owner %q %q", header.Name, header.ModTime, header.Uname, header.Gname)
		}
		out.WriteByte('\n')
	}
}

// readOnly is a reader of one file; other paths go to next.
func readOnly(path, text string, next func(context.Context, string) ([]byte, error)) func(context.Context, string) ([]byte, error) {
	return func(ctx context.Context, at string) ([]byte, error) {
		if at == path {
			return []byte(text), nil
		}
		return next(ctx, at)
	}
}
