package imagebuilder

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

const layIgnition = `{"ignition":{"version":"3.4.0"},"storage":{
	"files":[
		{"path":"/usr/local/tool","mode":493,"contents":{"source":"data:,tool"}},
		{"path":"/etc/base","overwrite":false,"append":[{"source":"data:,added"}]},
		{"path":"/etc/gone","overwrite":true,"contents":{"source":"data:,file"}},
		{"path":"/etc/hosts","overwrite":true,"contents":{"source":"data:,hosts"}}],
	"directories":[{"path":"/etc/new","mode":511}],
	"links":[{"path":"/etc/link","target":"base"}]},
	"systemd":{"units":[{"name":"gone.service","enabled":false}]}}`

// inNamespace runs the rest of a test as the root of a user namespace, where files
// can be given to users; false in the process that starts that one.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getuid() == 0 {
		return true
	}
	process := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	process.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if output, err := process.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	return false
}

// layBase is a mounted base image: with links between directories, two names of one
// file, and a directory where the config wants a file.
func layBase(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"etc/gone/sub", "etc/systemd/system/a.target.wants", "usr", "var/usrlocal", "run"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, content := range map[string]string{"etc/base": "base", "etc/hosts": "old", "etc/systemd/system/gone.service": "[Install]\nWantedBy=a.target\n", "etc/gone/sub/x": "x", "etc/passwd": "root:x:0:0::/:/bin/sh\n", "etc/group": "root:x:0:\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"usr/local": "../var/usrlocal", "etc/systemd/system/a.target.wants/gone.service": "../gone.service"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "var"), 0o755|fs.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "etc/passwd"), filepath.Join(dir, "etc/passwd-")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files are what lies in a directory: mode, and content or target.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			text += " -> " + target
		case info.Mode().IsRegular():
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			text += " " + string(content)
			if !info.ModTime().Equal(time.Unix(0, 0)) {
				text += " of " + info.ModTime().String()
			}
		}
		found[strings.TrimPrefix(file, dir)] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func (in *inputs) lay(base, layer string) error {
	_, err := Lay(context.Background(), LayOptions{
		MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256, BaseDir: base, LayerDir: layer, RemovedFile: layer + ".removed",
	}, steplog.NewProgress(&in.log, LaySteps, time.Now))
	return err
}

// TestLay: what lies under a link of the base lands where it points, no whiteout lies
// among the files, and the base stays as it is.
func TestLay(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	in := newInputs(t, layIgnition)
	base, layer := layBase(t), filepath.Join(t.TempDir(), "layer")
	before := files(t, base)
	if err := in.lay(base, layer); err != nil {
		t.Fatal(err)
	}
	got := files(t, layer)
	if current := got["/etc/machine-config-daemon/currentconfig"]; !strings.Contains(current, `"rendered-worker-1"`) {
		t.Errorf("current config %q", current)
	}
	delete(got, "/etc/machine-config-daemon/currentconfig")
	want := map[string]string{
		"/etc": "drwxr-xr-x", "/etc/base": "-rw-r----- baseadded", "/etc/gone": "-rw-r--r-- file", "/etc/hosts": "-rw-r--r-- hosts",
		"/etc/machine-config-daemon": "drwxr-xr-x", "/etc/new": "drwxrwxrwx",
		"/etc/systemd": "drwxr-xr-x", "/etc/systemd/system": "drwxr-xr-x",
		"/etc/systemd/system-preset": "drwxr-xr-x", "/etc/systemd/system-preset/20-ignition.preset": "-rw-r--r-- disable gone.service\n", "/etc/link": "Lrwxrwxrwx -> base",
		"/var": "dtrwxr-xr-x", "/var/usrlocal": "drwxr-xr-x", "/var/usrlocal/tool": "-rwxr-xr-x tool",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("layer (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, files(t, base)); diff != "" {
		t.Errorf("base:\n%s", diff)
	}
	_, err := Remove(t.Context(), RemoveOptions{RemovedFile: layer + ".removed", RootDir: base}, steplog.NewProgress(&in.log, RemoveSteps, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	for name := range before {
		if strings.HasPrefix(name, "/etc/systemd/system/a.target.wants") {
			delete(before, name)
		}
	}
	if diff := cmp.Diff(before, files(t, base)); diff != "" {
		t.Errorf("base, without what the config removes:\n%s", diff)
	}
	if !bytes.Contains(in.log.Bytes(), []byte("rendered-worker-1")) {
		t.Errorf("log:\n%s", in.log.String())
	}
}

// TestRemove: what is gone already is no fault, what is not said is, and nothing beyond
// the root is taken away.
func TestRemove(t *testing.T) {
	there := t.TempDir()
	root, outside := filepath.Join(there, "root"), filepath.Join(there, "outside")
	for _, dir := range []string{root, outside} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../outside", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		removes []string
		want    string
	}{
		"nothing":          {nil, ""},
		"gone already":     {[]string{"etc/gone", "a b\nc"}, ""},
		"beyond the root":  {[]string{"link/../outside"}, "escapes"},
		"through the link": {[]string{"link/x"}, "escapes"},
	} {
		file := filepath.Join(there, "removed")
		if err := writeRemoved(file, row.removes); err != nil {
			t.Fatal(err)
		}
		_, err := Remove(t.Context(), RemoveOptions{RemovedFile: file, RootDir: root}, steplog.NewProgress(&bytes.Buffer{}, RemoveSteps, time.Now))
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	_, err := Remove(t.Context(), RemoveOptions{RemovedFile: filepath.Join(there, "none"), RootDir: root}, steplog.NewProgress(&bytes.Buffer{}, RemoveSteps, time.Now))
	if err == nil || !strings.Contains(err.Error(), "what the config removes") {
		t.Errorf("without a list: error %v", err)
	}
}

func TestLayFails(t *testing.T) {
	in := newInputs(t, layIgnition)
	there := t.TempDir()
	for name, row := range map[string]struct{ base, layer, want string }{
		"no base":               {filepath.Join(there, "none"), filepath.Join(there, "layer"), "base image's files"},
		"the layer was written": {layBase(t), there, "file exists"},
	} {
		if err := in.lay(row.base, row.layer); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
