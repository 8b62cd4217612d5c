//go:build e2e

package e2e

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// rpm is a package of the tests' own, with a file of its name.
type rpm struct {
	name     string
	requires string
	// also is the path of another file that it has.
	also string
	// architecture as rpm names it; empty for that of this machine.
	architecture string
}

func (r rpm) file() string { return "usr/share/packages/" + r.name }

// needs ends a test that a program is missing for: "make e2e" installs them.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v; on Debian, install rpm, createrepo-c and mmdebstrap", err)
		}
	}
}

func runProgram(t *testing.T, name string, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, args...)
	command.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("running %s: %v\n%s", name, err, out)
	}
	return string(out)
}

// buildRPMs makes packages in a directory.
func buildRPMs(t *testing.T, dir string, packages ...rpm) {
	t.Helper()
	for _, p := range packages {
		top := t.TempDir()
		requires, install, files := "", "", ""
		if p.requires != "" {
			requires = "Requires: " + p.requires + "\n"
		}
		for _, path := range strings.Fields(p.file() + " " + p.also) {
			install += fmt.Sprintf("install -D -m 0644 /dev/null %%{buildroot}/%[1]s\necho %[2]s > %%{buildroot}/%[1]s\n", path, p.name)
			files += "/" + path + "\n"
		}
		spec := filepath.Join(top, "package.spec")
		text := fmt.Sprintf("Name: %s\nVersion: 1\nRelease: 1\nSummary: of a test\nLicense: none\nAutoReqProv: no\n%s"+
			"%%description\nOf a test.\n%%install\n%s%%files\n%s", p.name, requires, install, files)
		if err := os.WriteFile(spec, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--quiet", "-bb", "--define", "_topdir " + top, "--define", "_rpmdir " + dir, "--define", "_build_name_fmt %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm"}
		if p.architecture != "" {
			args = append(args, "--target", p.architecture+"-linux")
		}
		runProgram(t, "rpmbuild", append(args, spec)...)
	}
}

// rpmBase is a base image made of Debian's packages that has rpm and dnf, and in
// rpm's database the packages given. Its repositories, in each place where dnf looks
// for some, cannot be reached.
func rpmBase(t *testing.T, packages ...rpm) v1.Image {
	t.Helper()
	dir := t.TempDir()
	buildRPMs(t, filepath.Join(dir, "rpms"), packages...)
	root := filepath.Join(dir, "root.tar")
	unreachable := func(name string) string {
		return fmt.Sprintf(`\n[%s]\nname=%s\nbaseurl=https://%s/\nskip_if_unavailable=0\n`, name, name, noRegistry)
	}
	repositories := `--customize-hook=cd "$1/etc" && mkdir -p dnf yum.repos.d yum/repos.d distro.repos.d`
	for _, path := range []string{"dnf/dnf.conf", "yum.repos.d/a.repo", "yum/repos.d/b.repo", "distro.repos.d/c.repo"} {
		repositories += fmt.Sprintf(" && printf '%s' >> %s", unreachable(strings.ReplaceAll(path, "/", "-")), path)
	}
	runProgram(t, "mmdebstrap", "--quiet", "--variant=minbase", "--include=dnf,rpm",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
		"--customize-hook=copy-in "+filepath.Join(dir, "rpms")+" /tmp",
		`--customize-hook=chroot "$1" sh -c "rpm --install /tmp/rpms/*.rpm && rm -r /tmp/rpms"`, repositories,
		"trixie", root, "http://deb.debian.org/debian")
	return oneLayer(t, must(tarball.LayerFromFile(root, tarball.WithMediaType(types.OCILayer)))(t))
}

// extensionsOf is an extensions image: a repository of the packages given.
func extensionsOf(t *testing.T, packages ...rpm) v1.Image {
	t.Helper()
	dir := t.TempDir()
	buildRPMs(t, dir, packages...)
	runProgram(t, "createrepo_c", "--quiet", dir)
	var entries []entry
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		entries = append(entries, entry{"usr/share/rpm-ostree/extensions" + strings.TrimPrefix(path, dir), 0, string(content)})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return oneLayer(t, layerOf(t, types.OCILayer, entries...))
}

// oneLayer is an image for this machine.
func oneLayer(t *testing.T, layer v1.Layer) v1.Image {
	t.Helper()
	plain, err := cluster.OpenImage(cluster.PlainImage)
	if err != nil {
		t.Fatal(err)
	}
	like := must(plain.ConfigFile())(t)
	image := must(mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer))(t)
	config := must(image.ConfigFile())(t).DeepCopy()
	config.OS, config.Architecture, config.Created = like.OS, like.Architecture, like.Created
	config.Config.Env = like.Config.Env
	return must(mutate.ConfigFile(image, config))(t)
}

// pathsOf are the paths of all that an image has, without a leading slash.
func pathsOf(t *testing.T, image live.Image) map[string]bool {
	t.Helper()
	stream := mutate.Extract(image)
	defer stream.Close()
	paths := map[string]bool{}
	for reader := tar.NewReader(stream); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return paths
		}
		if err != nil {
			t.Fatal(err)
		}
		paths[strings.Trim(strings.TrimPrefix(header.Name, "./"), "/")] = true
	}
}
