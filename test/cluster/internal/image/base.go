package image

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	// Plain is the name of the plain Debian image: the project's Dockerfile builds on it.
	Plain = "docker.io/library/debian:trixie-slim"
	// OSBase is the name of the base image that looks like an image-based operating system.
	OSBase = "localhost/os/base:latest"
	// Pause is the name of the sandbox image.
	Pause = "localhost/machine-os-builder/pause:1"

	suite  = "trixie"
	mirror = "http://deb.debian.org/debian"
)

var (
	//go:embed rootfs/Dockerfile
	rootfsDockerfile string
	//go:embed osbase/Dockerfile
	osBaseDockerfile string
	//go:embed pause/Dockerfile
	pauseDockerfile string
)

// rootfsArgs make the smallest Debian, without the documentation that a slim image leaves out.
var rootfsArgs = []string{
	"--quiet", "--variant=minbase",
	"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/info/*",
	"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
}

func hash(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func plainRecipe() string {
	return hash(append([]string{rootfsDockerfile, suite, mirror}, rootfsArgs...)...)
}

func osBaseRecipe() string { return hash(plainRecipe(), osBaseDockerfile) }

// EnsurePlain makes the plain Debian image from Debian's packages.
func (m Maker) EnsurePlain(ctx context.Context) error {
	if m.recipe(ctx, Plain) == plainRecipe() {
		return nil
	}
	fmt.Fprintf(m.Progress, "making image %s from Debian packages (once)\n", Plain)
	dir, err := m.scratch()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	args := append(append([]string{}, rootfsArgs...), suite, filepath.Join(dir, "rootfs.tar"), mirror)
	if out, err := exec.CommandContext(ctx, "mmdebstrap", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("running mmdebstrap: %w\n%s", err, tail(string(out), 25))
	}
	return m.build(ctx, dir, rootfsDockerfile, Plain, plainRecipe())
}

// EnsureOSBase makes the base image and gives the directory that holds it as an OCI layout, and that of the plain image.
func (m Maker) EnsureOSBase(ctx context.Context) (osBase, plain string, err error) {
	if plain, err = m.layout(ctx, "plain", Plain, plainRecipe(), m.EnsurePlain); err != nil {
		return "", "", err
	}
	osBase, err = m.layout(ctx, "os-base", OSBase, osBaseRecipe(), func(ctx context.Context) error {
		if m.recipe(ctx, OSBase) == osBaseRecipe() {
			return nil
		}
		if err := m.EnsurePlain(ctx); err != nil {
			return err
		}
		fmt.Fprintf(m.Progress, "making image %s (once)\n", OSBase)
		dir, err := m.scratch()
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		return m.build(ctx, dir, osBaseDockerfile, OSBase, osBaseRecipe())
	})
	return osBase, plain, err
}

// EnsurePause makes the sandbox image from the program at the path pause and gives an archive of it.
func (m Maker) EnsurePause(ctx context.Context, pause string) (string, error) {
	b, err := os.ReadFile(pause)
	if err != nil {
		return "", err
	}
	recipe := hash(pauseDockerfile, string(b))
	archive := filepath.Join(m.Dirs.Images, "pause-"+recipe+".tar")
	if _, err := os.Stat(archive); err == nil {
		return archive, nil
	}
	dir, err := m.scratch()
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "pause"), b, 0o755); err != nil {
		return "", err
	}
	if err := m.build(ctx, dir, pauseDockerfile, Pause, recipe); err != nil {
		return "", err
	}
	return archive, m.Archive(ctx, Pause, archive)
}

// Archive writes an image of the storage as a docker archive that holds its name.
func (m Maker) Archive(ctx context.Context, name, path string) error {
	tmp := path + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	if _, err := m.buildah(ctx, "push", name, "docker-archive:"+tmp+":"+name); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// layout gives the directory <images>/<kind>-<recipe> that holds the image as an OCI layout, its layers compressed once, and
// removes those of earlier recipes. When it does not exist, ensure makes the image first.
func (m Maker) layout(ctx context.Context, kind, name, recipe string, ensure func(context.Context) error) (string, error) {
	dir := filepath.Join(m.Dirs.Images, kind+"-"+recipe)
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err == nil {
		return dir, nil
	}
	if err := ensure(ctx); err != nil {
		return "", err
	}
	old, err := filepath.Glob(filepath.Join(m.Dirs.Images, kind+"-*"))
	if err != nil {
		return "", err
	}
	for _, o := range old {
		if err := os.RemoveAll(o); err != nil {
			return "", err
		}
	}
	tmp := dir + ".tmp"
	if _, err := m.buildah(ctx, "push", name, "oci:"+tmp+":latest"); err != nil {
		return "", err
	}
	return dir, os.Rename(tmp, dir)
}

func (m Maker) scratch() (string, error) {
	if err := os.MkdirAll(m.Dirs.Images, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(m.Dirs.Images, "context-")
}

// build builds one of the embedded Dockerfiles in the context dir, each step a layer.
func (m Maker) build(ctx context.Context, dir, dockerfile, name, recipe string) error {
	path := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(path, []byte(dockerfile), 0o644); err != nil {
		return err
	}
	// What an earlier recipe made only takes room. Where it is still built upon it stays, without harm.
	_, _ = m.buildah(ctx, "rmi", name)
	_, err := m.buildah(ctx, "build", "--quiet", "--pull=never", "--layers", "--label", recipeLabel+"="+recipe,
		"--tag", name, "--file", path, dir)
	if err != nil {
		return fmt.Errorf("making image %s: %w", strings.TrimPrefix(name, "localhost/"), err)
	}
	return nil
}
