package buildahtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Fake stands in for the program where a test is about how it is called;
// what it does is tested with the real one, in a real pod. The script gets the
// command's name and its arguments; calls are noted in a file.
func Fake(t testing.TB, script string) (calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	text := `#!/bin/sh
echo "$*" >> ` + log + `
env > ` + dir + `/env
while [ "${1#--}" != "$1" ]; do shift 2; done
` + script
	if err := os.WriteFile(filepath.Join(dir, "buildah"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		content, err := os.ReadFile(log)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(content)), "\n")
	}
}
