package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
)

func TestProductTagNamesTheContents(t *testing.T) {
	project := t.TempDir()
	m := Maker{Dirs: layout.Dirs{Project: project}}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(project, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("Dockerfile", "FROM scratch")
	if _, err := m.ProductTag(project, "a", "b"); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("no binary: error %v does not say what makes it", err)
	}
	seen := map[string]string{}
	write("bin/b", "1")
	for _, step := range []struct{ what, name, text string }{
		{"first", "bin/a", "1"}, {"other binary", "bin/a", "2"}, {"other second binary", "bin/b", "2"}, {"other Dockerfile", "Dockerfile", "FROM scratch AS x"},
	} {
		write(step.name, step.text)
		tag, err := m.ProductTag(project, "a", "b")
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[tag]; ok {
			t.Errorf("%s has the tag of %s", step.what, other)
		}
		seen[tag] = step.what
		if again, err := m.ProductTag(project, "a", "b"); err != nil || again != tag {
			t.Errorf("%s: asked again: %q, %v", step.what, again, err)
		}
	}
}

func TestOthersOf(t *testing.T) {
	names := []string{"localhost/p/builder:1", "localhost/p/builder:2", "localhost/p/controller:1", "localhost/p/builder-x:1", "<none>:<none>"}
	if got := othersOf(names, "localhost/p/builder:2"); !slices.Equal(got, []string{"localhost/p/builder:1"}) {
		t.Errorf("got %q", got)
	}
}

func TestHashTellsPartsApart(t *testing.T) {
	if hash("ab", "c") == hash("a", "bc") {
		t.Error("the hash does not see where one part ends")
	}
}

func TestTail(t *testing.T) {
	if got := tail("a\nb\nc\n", 2); got != "b\nc" {
		t.Errorf("got %q", got)
	}
}

// What the documentation and the benchmarks promise of the base image must be in its Dockerfile.
func TestOSBaseHasTheLinks(t *testing.T) {
	for _, want := range []string{"ln -s ../var/usrlocal /usr/local", "ln -s var/opt /opt", "FROM " + Plain} {
		if !strings.Contains(osBaseDockerfile, want) {
			t.Errorf("no %q", want)
		}
	}
}
