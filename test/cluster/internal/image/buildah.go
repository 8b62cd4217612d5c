package image

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
)

// Maker makes images with buildah, in a storage of its own below the image cache.
type Maker struct {
	Dirs     layout.Dirs
	Progress io.Writer
}

// recipeLabel carries the hash of what an image was made of.
const recipeLabel = "machineosbuilder.io/test-recipe"

// buildah runs one buildah command and gives its standard output. What it says goes into the error when it fails.
func (m Maker) buildah(ctx context.Context, args ...string) (string, error) {
	global := []string{"--root", m.Dirs.BuildahStore(), "--runroot", m.Dirs.BuildahRun(), "--storage-driver", "overlay"}
	cmd := exec.CommandContext(ctx, "buildah", append(global, args...)...)
	// Chroot isolation uses the machine's network and name service, and needs no further programs.
	cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot", "LC_ALL=C.UTF-8")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running buildah %s: %w\n%s", args[0], err, tail(out.String()+said.String(), 25))
	}
	return strings.TrimSpace(out.String()), nil
}

// tail keeps the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// recipe is the recipe label of an image in the storage; empty when there is no such image.
func (m Maker) recipe(ctx context.Context, name string) string {
	out, err := m.buildah(ctx, "inspect", "--type", "image", "--format", `{{index .OCIv1.Config.Labels "`+recipeLabel+`"}}`, name)
	if err != nil {
		return ""
	}
	return out
}
