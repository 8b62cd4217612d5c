package binaries

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func module(t *testing.T, files map[string]string) Cache {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Cache{Dir: t.TempDir(), ModuleDir: dir, Progress: io.Discard}
}

func TestKeyChangesWithEachInput(t *testing.T) {
	base := map[string]string{"go.mod": "module m", "go.sum": "", "pause/main.go": "package main"}
	seen := map[string]string{}
	for _, changed := range []string{"", "go.mod", "go.sum", "pause/main.go"} {
		files := map[string]string{}
		for n, text := range base {
			files[n] = text
			if n == changed {
				files[n] += "\n// changed"
			}
		}
		key, err := module(t, files).Key()
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("changing %q gives the key of changing %q", changed, other)
		}
		seen[key] = changed
	}
}

func TestEnsureKeepsWhatIsThere(t *testing.T) {
	c := module(t, map[string]string{"go.mod": "module m", "go.sum": "", "pause/main.go": "package main"})
	key, err := c.Key()
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(c.Dir, key)
	if err := os.MkdirAll(want, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(want, "etcd"), []byte("cached"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := c.Ensure(context.Background(), "etcd")
	if err != nil || got != want {
		t.Fatalf("got %q, %v, want %q without a build", got, err, want)
	}
}

func TestEnsureNamesTheProgramsItKnows(t *testing.T) {
	_, err := (Cache{}).Ensure(context.Background(), "dockerd")
	if err == nil || !strings.Contains(err.Error(), "etcd kube-apiserver") {
		t.Fatalf("error %v does not list the programs", err)
	}
}

func TestVersionMatchesGoMod(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "k8s.io/kubernetes "+kubernetesVersion) {
		t.Errorf("go.mod does not require k8s.io/kubernetes %s", kubernetesVersion)
	}
}
