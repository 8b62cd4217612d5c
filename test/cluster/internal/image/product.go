package image

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ProductTag names the contents of one of the product's images: the Dockerfile, the binaries in bin/ and the plain image below.
func (m Maker) ProductTag(contextDir string, binaries ...string) (string, error) {
	parts := []string{plainRecipe()}
	files := []string{filepath.Join(m.Dirs.Project, "Dockerfile")}
	for _, binary := range binaries {
		files = append(files, filepath.Join(contextDir, "bin", binary))
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("building the product's images: %w (make build makes the binaries)", err)
		}
		if err != nil {
			return "", err
		}
		parts = append(parts, string(b))
	}
	return hash(parts...), nil
}

// EnsureProduct builds one target of the project's Dockerfile. The layers below the binary come out of the storage when they
// have not changed.
func (m Maker) EnsureProduct(ctx context.Context, contextDir, target, name string) error {
	if err := m.EnsurePlain(ctx); err != nil {
		return err
	}
	if _, err := m.buildah(ctx, "inspect", "--type", "image", "--format", "{{.FromImageID}}", name); err == nil {
		return nil
	}
	fmt.Fprintf(m.Progress, "building image %s\n", name)
	if _, err := m.buildah(ctx, "build", "--quiet", "--pull=never", "--layers", "--target", target, "--tag", name,
		"--file", filepath.Join(m.Dirs.Project, "Dockerfile"), contextDir); err != nil {
		return err
	}
	return m.forgetOthers(ctx, name)
}

// forgetOthers removes earlier builds of the same target: their names, with the layers that only they have.
func (m Maker) forgetOthers(ctx context.Context, name string) error {
	out, err := m.buildah(ctx, "images", "--format", "{{.Name}}:{{.Tag}}")
	if err != nil {
		return err
	}
	for _, other := range othersOf(strings.Fields(out), name) {
		if _, err := m.buildah(ctx, "rmi", other); err != nil {
			return err
		}
	}
	return nil
}

// othersOf picks the names with the repository of this one and another tag.
func othersOf(names []string, name string) []string {
	repository := name[:strings.LastIndexByte(name, ':')+1]
	var others []string
	for _, n := range names {
		if n != name && strings.HasPrefix(n, repository) {
			others = append(others, n)
		}
	}
	return others
}

// Push pushes an image of the storage to a registry that the CA in caFile vouches for, with credentials as user:password, or none.
func (m Maker) Push(ctx context.Context, name, target, caFile, credentials string) error {
	certs, err := os.MkdirTemp(m.Dirs.Images, "certs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(certs)
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(certs, "ca.crt"), ca, 0o644); err != nil {
		return err
	}
	args := []string{"push", "--quiet", "--cert-dir", certs}
	if credentials != "" {
		// In a file of its own: a command line can be read by everybody on the machine.
		auth := filepath.Join(certs, "auth.json")
		host, _, _ := strings.Cut(target, "/")
		text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(credentials)))
		if err := os.WriteFile(auth, []byte(text), 0o600); err != nil {
			return err
		}
		args = append(args, "--authfile", auth)
	}
	_, err = m.buildah(ctx, append(args, name, "docker://"+target)...)
	return err
}
