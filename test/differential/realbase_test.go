package differential

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

// realImage is the root file system in the tar that MOB_TEST_BASE_TAR names.
func realImage(t *testing.T) baseImage {
	t.Helper()
	name := os.Getenv("MOB_TEST_BASE_TAR")
	if name == "" {
		t.Skip("MOB_TEST_BASE_TAR names no root file system")
	}
	open := func() (fs.File, error) { return os.Open(name) }
	b := configlayer.NewTreeBuilder()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := b.AddLayer("sha256:real", f); err != nil {
		t.Fatal(err)
	}
	tree := reread(t, b.Tree())
	return baseImage{tree: tree, open: open, content: func(at string) ([]byte, error) {
		_, member, err := tree.Member(at)
		if err != nil {
			return nil, err
		}
		return readMember(name, member)
	}}
}

func readMember(name, member string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	archive := tar.NewReader(f)
	for {
		header, err := archive.Next()
		if err != nil {
			return nil, err
		}
		if strings.TrimPrefix(path.Clean("/"+header.Name), "/") == member {
			return io.ReadAll(archive)
		}
	}
}

// imageLinks are the links that image-based systems have and Debian lacks. They
// are laid over the base when it lacks them.
var imageLinks = []node{symlink("usr/local", "../var/usrlocal"), dir("var/usrlocal", 0o755), symlink("opt", "var/opt")}

// TestRealBase lays configs over a real root file system. If that has systemctl,
// what Ignition's preset file asks for is done by it, and the links that it makes
// must be ours.
func TestRealBase(t *testing.T) {
	needReference(t)
	base := withLinks(t, realImage(t))
	configs := readConfigs(t, examples)
	delete(configs, "replace") // of paths that only the small base has
	maps.Copy(configs, realConfigs(t))
	configs["units of the base"] = `{"ignition":{"version":"3.4.0"},"systemd":{"units":[
		{"name":"ssh.service","enabled":false},{"name":"cron.service","enabled":false},{"name":"systemd-networkd.service","enabled":true},
		{"name":"systemd-journald.service","enabled":false},{"name":"chrony.service","mask":true},{"name":"systemd-timesyncd.service","enabled":true},
		{"name":"getty@tty5.service","enabled":true},{"name":"serial-getty@ttyS0.service","enabled":true},{"name":"getty@tty1.service","enabled":false},
		{"name":"console-getty.service","enabled":true},{"name":"debug-shell.service","enabled":true},{"name":"systemd-resolved.service","enabled":true}]}}`
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		t.Run(name, func(t *testing.T) { checkRealBase(t, base, configs[name]) })
	}
}

func checkRealBase(t *testing.T, base baseImage, config string) {
	t.Helper()
	out, ok := apply(t, base, config)
	if !ok {
		t.Fatal("refused")
	}
	defer provideNull(t, out.theirs)()
	systemctl := enableByHand(t, out.theirs, config)
	theirs, ours := snapshot(t, out.theirs), snapshot(t, out.ours)
	delete(theirs, "/dev/null")
	dropCurrentConfig(t, ours)
	if !systemctl {
		dropEnablement(theirs, ours)
	}
	dropSysV(theirs)
	dropSysV(ours)
	compare(t, theirs, ours)
	if t.Failed() {
		t.Logf("warnings: %s", strings.Join(out.layer.Warnings(), "\n"))
	}
}

// dropSysV takes out the links of System V scripts, which Debian's systemctl
// enables and disables too. Ignition's targets have none.
func dropSysV(tree map[string]string) {
	for at := range tree {
		if matched, err := path.Match("/etc/rc?.d/*", at); err == nil && matched {
			delete(tree, at)
		}
	}
}

// enableByHand has the base's own systemctl enable and disable what the config
// says, unit by unit. What it refuses stays as it is.
func enableByHand(t *testing.T, root, config string) bool {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, "usr/bin/systemctl")); err != nil {
		return false
	}
	cfg, _, err := ignition.Parse([]byte(config), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range cfg.Systemd.Units {
		if unit.Enabled == nil {
			continue
		}
		verb := "disable"
		if *unit.Enabled {
			verb = "enable"
		}
		if said, err := runInside(root, "", "/usr/bin/systemctl", verb, unit.Name); err != nil {
			t.Logf("systemctl %s %s: %v %s", verb, unit.Name, err, strings.TrimSpace(said))
		}
	}
	return true
}

// withLinks adds the links of an image-based system as a layer of their own.
func withLinks(t *testing.T, base baseImage) baseImage {
	t.Helper()
	if _, ok := base.tree.Lookup("/var/usrlocal"); ok {
		return base
	}
	extra := tarOf(t, imageLinks)
	b := configlayer.NewTreeBuilder()
	f, err := base.open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, layer := range []io.Reader{f, bytes.NewReader(extra)} {
		if err := b.AddLayer("sha256:layer", layer); err != nil {
			t.Fatal(err)
		}
	}
	lower := base.open
	return baseImage{tree: reread(t, b.Tree()), content: base.content, open: func() (fs.File, error) {
		f, err := lower()
		if err != nil {
			return nil, err
		}
		return twoLayers{f, bytes.NewReader(extra)}, nil
	}}
}

// twoLayers gives the lower tar's bytes; unpackBase lays the upper over it.
type twoLayers struct {
	fs.File
	upper *bytes.Reader
}
