package differential

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
)

// baseImage is a base to lay configs over.
type baseImage struct {
	tree *configlayer.Tree
	open func() (fs.File, error)
	// content reads a file of the base, for Deps.ReadBase.
	content func(path string) ([]byte, error)
}

// bytesFile makes an fs.File of bytes in memory.
type bytesFile struct{ *bytes.Reader }

func (bytesFile) Close() error               { return nil }
func (bytesFile) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }

func smallImage(t testing.TB) baseImage {
	t.Helper()
	raw := tarOf(t, smallBase)
	b := configlayer.NewTreeBuilder()
	if err := b.AddLayer("sha256:small", bytes.NewReader(raw)); err != nil {
		t.Fatal(err)
	}
	tree := reread(t, b.Tree())
	return baseImage{
		tree: tree,
		open: func() (fs.File, error) { return bytesFile{bytes.NewReader(raw)}, nil },
		content: func(path string) ([]byte, error) {
			_, member, err := tree.Member(path)
			if err != nil {
				return nil, err
			}
			for _, n := range smallBase {
				if n.path == member {
					return []byte(n.text), nil
				}
			}
			return nil, fs.ErrNotExist
		},
	}
}

// reread sends a tree through its encoding, so that the tests stand on what is
// really kept.
func reread(t testing.TB, tree *configlayer.Tree) *configlayer.Tree {
	t.Helper()
	var kept bytes.Buffer
	if err := tree.Encode(&kept); err != nil {
		t.Fatal(err)
	}
	t.Logf("index: %d paths in %d bytes", tree.Len(), kept.Len())
	again, err := configlayer.DecodeTree(&kept)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func machineConfig(config string) *mcfgv1.MachineConfig {
	mc := &mcfgv1.MachineConfig{}
	mc.Name = "rendered-test"
	mc.Spec.Config.Raw = []byte(config)
	return mc
}

// laidOut holds the two copies after a config was applied to both.
type laidOut struct {
	theirs, ours string
	layer        *configlayer.Layer
}

// apply applies a config both ways. ok is false when both refused it; that they
// disagree is an error.
func apply(t *testing.T, base baseImage, config string) (laidOut, bool) {
	t.Helper()
	top := t.TempDir()
	out := laidOut{theirs: filepath.Join(top, "theirs"), ours: filepath.Join(top, "ours")}
	unpackBase(t, base, out.theirs)
	said, refused := ignitionApply(t, out.theirs, config)

	deps := configlayer.Deps{ReadBase: func(_ context.Context, path string) ([]byte, error) { return base.content(path) }}
	layer, err := configlayer.Build(t.Context(), machineConfig(config), base.tree, deps)
	var refusal *configlayer.ConfigError
	if err != nil && !errors.As(err, &refusal) {
		t.Fatalf("building the layer: %v", err)
	}
	if refused != (err != nil) {
		t.Errorf("ignition refused: %v, we: %v\nignition said:\n%s", refused, err, said)
		return out, false
	}
	if refused {
		return out, false
	}
	out.layer = layer
	unpackBase(t, base, out.ours)
	var raw bytes.Buffer
	if err := layer.WriteTar(&raw); err != nil {
		t.Fatal(err)
	}
	if err := unpack(out.ours, &raw); err != nil {
		t.Fatalf("unpacking our layer: %v", err)
	}
	return out, true
}

func unpackBase(t *testing.T, base baseImage, root string) {
	t.Helper()
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := base.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unpack(root, f); err != nil {
		t.Fatalf("unpacking the base: %v", err)
	}
	if two, ok := f.(twoLayers); ok {
		if err := unpack(root, two.upper); err != nil {
			t.Fatalf("unpacking the base: %v", err)
		}
	}
}

// checkSame compares the two copies, leaving out what is only ours by intent.
func checkSame(t *testing.T, base baseImage, config string) bool {
	t.Helper()
	out, ok := apply(t, base, config)
	if !ok {
		return false
	}
	theirs, ours := snapshot(t, out.theirs), snapshot(t, out.ours)
	dropCurrentConfig(t, ours)
	dropEnablement(theirs, ours)
	compare(t, theirs, ours)
	if t.Failed() {
		t.Logf("config: %s", config)
	}
	return true
}

// dropCurrentConfig takes the MachineConfig out, which only we write.
func dropCurrentConfig(t *testing.T, ours map[string]string) {
	t.Helper()
	at := configlayer.CurrentConfigPath
	if !strings.HasPrefix(ours[at], "100600 0:0 ") {
		t.Errorf("%s: %q", at, ours[at])
	}
	delete(ours, at)
	delete(ours, filepath.Dir(at))
}

// dropEnablement takes out the links that enable units, which a first boot makes
// of the reference's preset file, and the directories made for them.
func dropEnablement(theirs, ours map[string]string) {
	for at, line := range ours {
		if _, known := theirs[at]; known || !strings.HasPrefix(at, "/etc/systemd/system/") {
			continue
		}
		if strings.Contains(line, " -> ") || strings.HasSuffix(at, ".wants") || strings.HasSuffix(at, ".requires") {
			delete(ours, at)
		}
	}
}
