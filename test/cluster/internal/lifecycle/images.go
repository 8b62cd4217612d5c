package lifecycle

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/component"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/ociregistry"
)

// BaseImage and PlainImage are the repositories of the base images in each registry.
const (
	BaseImage  = "os/base"
	PlainImage = "os/plain"
)

// layouts are the directories of the base images.
type layouts struct{ base, plain string }

func (c Cluster) baseLayouts(ctx context.Context) (layouts, error) {
	base, plain, err := c.images().EnsureOSBase(ctx)
	return layouts{base, plain}, err
}

// pushBases pushes the base images to both registries.
func (c Cluster) pushBases(ctx context.Context, state State, bases layouts) error {
	client, err := c.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	for _, host := range []string{layout.Registry, layout.AuthRegistry} {
		listening := func(context.Context) error {
			conn, err := net.DialTimeout("tcp", host, time.Second)
			if err == nil {
				conn.Close()
			}
			return err
		}
		if err := c.waitFor(ctx, "registry "+host, time.Minute, listening, component.Registry, component.AuthRegistry); err != nil {
			return err
		}
		repo := ociregistry.Repository{Client: client, Host: host}
		if host == layout.AuthRegistry {
			repo.User, repo.Password = state.User, state.Password
		}
		for name, dir := range map[string]string{BaseImage: bases.base, PlainImage: bases.plain} {
			repo.Name = name
			if _, err := repo.PushLayout(ctx, dir, "latest"); err != nil {
				return err
			}
		}
	}
	return nil
}

// ctr runs a command of containerd's client in the namespace of the kubelet's images.
func (c Cluster) ctr(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "ctr", append([]string{"-a", c.Dirs.ContainerdSocket(), "-n", "k8s.io"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("running ctr %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// loadPause waits for containerd and gives it the sandbox image.
func (c Cluster) loadPause(ctx context.Context, state State) error {
	archive, err := c.images().EnsurePause(ctx, filepath.Join(state.Bin, "pause"))
	if err != nil {
		return err
	}
	ready := func(ctx context.Context) error { return c.ctr(ctx, "version") }
	if err := c.waitFor(ctx, "containerd", time.Minute, ready, component.Containerd); err != nil {
		return err
	}
	return c.ctr(ctx, "images", "import", archive)
}

// LoadImage puts an image on the node: a docker or OCI archive, or the name of an image in the storage that this program's own
// buildah commands use.
func (c Cluster) LoadImage(ctx context.Context, what string) error {
	if _, err := c.Load(); err != nil {
		return err
	}
	if info, err := os.Stat(what); err == nil && info.Mode().IsRegular() {
		return c.ctr(ctx, "images", "import", what)
	}
	archive := filepath.Join(c.Dirs.Images, fmt.Sprintf("load-%d.tar", os.Getpid()))
	defer os.Remove(archive)
	if err := c.images().Archive(ctx, what, archive); err != nil {
		return fmt.Errorf("loading image %s, which is no file: %w", what, err)
	}
	return c.ctr(ctx, "images", "import", archive)
}

// PushImage pushes an image of that storage to one of the registries, as <host>/<repository>:<tag>, and gives its full name.
func (c Cluster) PushImage(ctx context.Context, name, reference string, auth bool) (string, error) {
	state, err := c.Load()
	if err != nil {
		return "", err
	}
	target := layout.Registry + "/" + reference
	credentials := ""
	if auth {
		target = layout.AuthRegistry + "/" + reference
		credentials = state.User + ":" + state.Password
	}
	return target, c.images().Push(ctx, name, target, c.Dirs.PKI("ca.crt"), credentials)
}

// ProductImages builds the project's images from its Dockerfile and the binaries in bin/ of the context directory (the
// project's root when empty), pushes them to the open registry and pulls them to the node. What is there already is not touched.
func (c Cluster) ProductImages(ctx context.Context, contextDir string) (State, error) {
	unlock, err := c.lock()
	if err != nil {
		return State{}, err
	}
	defer unlock()
	state, err := c.Load()
	if err != nil {
		return State{}, err
	}
	if contextDir == "" {
		contextDir = c.Dirs.Project
	}
	client, err := c.client()
	if err != nil {
		return State{}, err
	}
	defer client.CloseIdleConnections()
	for _, p := range []struct {
		target   string
		binaries []string
		into     *string
	}{
		{"controller", []string{"build-executor", "convert-ignition", "machine-os-builder"}, &state.ControllerImage},
		{"builder", []string{"os-image-builder"}, &state.BuilderImage},
		{"git", []string{"os-image-builder"}, &state.GitImage},
	} {
		name, err := c.productImage(ctx, client, contextDir, p.target, p.binaries...)
		if err != nil {
			return State{}, err
		}
		*p.into = name
	}
	return state, c.save(state)
}
