package sourcebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// layer makes a tar of headers, each file with its content in Linkname's place.
func layer(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, entry := range entries {
		content := ""
		if entry.Typeflag == tar.TypeReg {
			content, entry.Linkname = entry.Linkname, ""
			entry.Size = int64(len(content))
		}
		if err := archive.WriteHeader(&entry); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func dir(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: mode}
}

func file(name, content string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: content, Mode: mode}
}

func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
}

func hard(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to, Mode: 0o644}
}

// TestContentOfImages copies as cp -r does, from what the image is in the end.
func TestContentOfImages(t *testing.T) {
	p := newPod(t, "FROM scratch")
	image := registrytest.Image(t, "amd64",
		layer(t, dir("app", 0o750), file("app/run", "old", 0o644), file("app/gone", "x", 0o644), dir("app/opaque", 0o755), file("app/opaque/below", "x", 0o644),
			file("elsewhere", "one", 0o600), dir("usr", 0o755), dir("usr/lib", 0o555), file("usr/lib/a.so", "a", 0o755), link("lib", "usr/lib"), link("absolute", "/usr/./lib")),
		layer(t, file("app/.wh.gone", "", 0), file("app/opaque/.wh..wh..opq", "", 0), file("app/run", "new", 0o4755), hard("app/hard", "elsewhere"), hard("app/hard2", "elsewhere"),
			link("app/out", "../../../../etc/passwd"), link("app/in", "run")))
	p.server.Push(t, "content:1", image)
	for name, test := range map[string]struct {
		from, to string
		want     string // path mode content, links as path -> target
	}{
		"a directory":     {"/app", "x", "x d755|x/app d750|x/app/hard 600 one|x/app/hard2 600 one|x/app/in -> run|x/app/opaque d755|x/app/out -> ../../../../etc/passwd|x/app/run 755 new"},
		"its contents":    {"/app/.", "x/y", "x d755|x/y d755|x/y/hard 600 one|x/y/hard2 600 one|x/y/in -> run|x/y/opaque d755|x/y/out -> ../../../../etc/passwd|x/y/run 755 new"},
		"a file":          {"/app/run", ".", "run 755 new"},
		"a hard link":     {"/app/hard", "", "hard 600 one"},
		"through a link":  {"/lib/a.so", ".", "a.so 755 a"},
		"through another": {"/absolute/.", "x", "x d755|x/a.so 755 a"},
		"a link itself":   {"/lib", "x", "x d755|x/lib -> usr/lib"},
		"no write access": {"/usr/lib", ".", "lib d755|lib/a.so 755 a"},
	} {
		t.Run(name, func(t *testing.T) {
			inputs := p.work().inputs()
			if err := os.RemoveAll(inputs); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(inputs, 0o755); err != nil {
				t.Fatal(err)
			}
			p.build.Spec.Source.Images = []buildv1.ImageSource{{
				From: corev1.ObjectReference{Name: p.server.Host + "/content:1"}, Paths: []buildv1.ImageSourcePath{{SourcePath: test.from, DestinationDir: test.to}},
			}}
			prepare := &preparation{options: p.prepare, progress: p.progress()}
			for range 2 { // a container that starts again finds what it left
				if err := prepare.extractImages(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			if got := listing(t, inputs); got != test.want {
				t.Errorf("inputs:\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

// listing is all below a directory, in one line.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		short := strings.TrimPrefix(name, dir+"/")
		info, err := entry.Info()
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir():
			lines = append(lines, fmt.Sprintf("%s d%o", short, info.Mode().Perm()))
		case entry.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(name)
			lines = append(lines, short+" -> "+to)
			return err
		default:
			content, err := os.ReadFile(name)
			lines = append(lines, fmt.Sprintf("%s %o %s", short, info.Mode(), content))
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "|")
}

// TestNothingIsWrittenOutside: neither links of the source nor those of an image lead
// out of the inputs.
func TestNothingIsWrittenOutside(t *testing.T) {
	outside := t.TempDir()
	for name, change := range map[string]func(*pod){
		"a link for a directory, image": func(p *pod) {
			p.build.Spec.Source.Images = []buildv1.ImageSource{{From: corev1.ObjectReference{Name: p.server.Host + "/content:1"}, Paths: []buildv1.ImageSourcePath{{SourcePath: "/a", DestinationDir: "out"}}}}
		},
		"a link for a directory, Secret": func(p *pod) {
			p.build.Spec.Source.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "s"}, DestinationDir: "out"}}
		},
		"a link for a file": func(p *pod) {
			p.build.Spec.Source.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "s"}, DestinationDir: "in"}}
		},
		"a link for the Dockerfile": func(*pod) {},
		"a link for the context":    func(p *pod) { p.build.Spec.Source.ContextDir = "out" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, "FROM scratch\nLABEL a=b\n")
			p.server.Push(t, "content:1", registrytest.Image(t, "amd64", layer(t, file("a", "escaped", 0o644))))
			p.prepare.SecretInputs["s"] = p.mounted("s", map[string]string{"a": "escaped"})
			inputs := p.work().inputs()
			if err := os.MkdirAll(filepath.Join(inputs, "in"), 0o755); err != nil {
				t.Fatal(err)
			}
			for from, to := range map[string]string{"out": outside, "in/a": filepath.Join(outside, "a"), "Dockerfile": filepath.Join(outside, "Dockerfile")} {
				if err := os.Symlink(to, filepath.Join(inputs, from)); err != nil {
					t.Fatal(err)
				}
			}
			change(p)
			_, err := Prepare(context.Background(), p.prepare, p.progress())
			left, readErr := os.ReadDir(outside)
			if readErr != nil || len(left) > 0 {
				t.Errorf("outside there is %v, %v; error %v", left, readErr, err)
			}
		})
	}
}
