package imagebuilder

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

// TestReadPlan: the plan lies where the steps of a Dockerfile may have put
// something else.
func TestReadPlan(t *testing.T) {
	good := plan{Driver: storageDriver{Name: "vfs"}, BaseImage: "registry.example.com/base:1", BaseDigest: "sha256:1"}
	for name, row := range map[string]struct {
		tamper func(path string) error
		fails  string
	}{
		"as written": {func(string) error { return nil }, ""},
		"missing":    {os.Remove, "no such file"},
		"link": {func(path string) error {
			return replace(path, func() error { return os.Symlink(path+"-target", path) })
		}, "symbolic links"},
		"pipe":      {func(path string) error { return replace(path, func() error { return syscall.Mkfifo(path, 0o600) }) }, "not a regular file"},
		"directory": {func(path string) error { return replace(path, func() error { return os.Mkdir(path, 0o700) }) }, "not a regular file"},
		"too large": {func(path string) error { return os.WriteFile(path, []byte(strings.Repeat(" ", maxPlan)+"{}"), 0o600) }, "larger than"},
		"no JSON":   {func(path string) error { return os.WriteFile(path, []byte("x"), 0o600) }, "invalid character"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Volumes{WorkDir: t.TempDir()}
			if err := v.writePlan(good); err != nil {
				t.Fatal(err)
			}
			if err := row.tamper(filepath.Join(v.WorkDir, "plan.json")); err != nil {
				t.Fatal(err)
			}
			got, err := v.readPlan()
			switch {
			case row.fails == "" && (err != nil || !reflect.DeepEqual(got, good)):
				t.Errorf("plan %+v, %v", got, err)
			case row.fails != "" && (err == nil || !strings.Contains(err.Error(), row.fails)):
				t.Errorf("error = %v, want %q in it", err, row.fails)
			}
		})
	}
}

func replace(path string, with func() error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return with()
}
