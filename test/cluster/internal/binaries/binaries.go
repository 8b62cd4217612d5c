package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// kubernetesVersion is what the Kubernetes programs say of themselves. A test compares it with go.mod.
const kubernetesVersion = "v1.34.4"

// packages are the programs by name, in the order in which they are built: first those that integration tests need too.
var packages = []struct{ name, path string }{
	{"etcd", "go.etcd.io/etcd/server/v3"},
	{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
	{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
	{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
	{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
	{"kubelet", "k8s.io/kubernetes/cmd/kubelet"},
	{"registry", "github.com/distribution/distribution/v3/cmd/registry"},
	{"pause", "github.com/machine-os-builder/machine-os-builder/test/cluster/pause"},
}

const ldflags = "-s -w -X k8s.io/component-base/version.gitVersion=" + kubernetesVersion

// Names lists every program.
func Names() []string {
	var names []string
	for _, p := range packages {
		names = append(names, p.name)
	}
	return names
}

// Cache builds programs of the module in ModuleDir into directories below Dir.
type Cache struct {
	Dir       string
	ModuleDir string
	// Progress gets a line before and after each build.
	Progress io.Writer
}

// Key is the hash of all that a program is made of: the module's versions, its own source, the compiler and its flags.
func (c Cache) Key() (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOARCH, ldflags)
	for _, name := range []string{"go.mod", "go.sum", "pause/main.go"} {
		b, err := os.ReadFile(filepath.Join(c.ModuleDir, name))
		if err != nil {
			return "", err
		}
		// Whether a module is needed directly changes nothing in the programs.
		fmt.Fprintln(h, name, strings.ReplaceAll(string(b), " // indirect", ""))
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// Ensure builds those of the named programs (all when none is named) that the cache lacks and returns the directory that holds
// them. Directories of earlier versions are removed.
func (c Cache) Ensure(ctx context.Context, names ...string) (string, error) {
	if len(names) == 0 {
		names = Names()
	}
	for _, n := range names {
		if !slices.Contains(Names(), n) {
			return "", fmt.Errorf("building %q: no such program; there are: %s", n, strings.Join(Names(), " "))
		}
	}
	key, err := c.Key()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(c.Dir, key)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, p := range packages {
		if !slices.Contains(names, p.name) {
			continue
		}
		target := filepath.Join(dir, p.name)
		if _, err := os.Stat(target); err == nil {
			continue
		}
		start := time.Now()
		fmt.Fprintf(c.Progress, "building %s (once)\n", p.name)
		if err := c.build(ctx, p.path, target); err != nil {
			return "", fmt.Errorf("building %s: %w", p.name, err)
		}
		fmt.Fprintf(c.Progress, "built %s in %s\n", p.name, time.Since(start).Round(time.Second))
	}
	return dir, c.prune(key)
}

// build makes one program under a temporary name and renames it, so that a program in the cache is always whole.
func (c Cache) build(ctx context.Context, pkg, target string) error {
	tmp := fmt.Sprintf("%s.%d.tmp", target, os.Getpid())
	defer os.Remove(tmp)
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", ldflags, "-o", tmp, pkg)
	cmd.Dir = c.ModuleDir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-buildvcs=false -mod=readonly")
	cmd.Stdout, cmd.Stderr = c.Progress, c.Progress
	if err := cmd.Run(); err != nil {
		return err
	}
	return os.Rename(tmp, target)
}

// prune removes the directories of other versions that nobody touched for a day.
func (c Cache) prune(key string) error {
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.Name() == key || time.Since(info.ModTime()) < 24*time.Hour {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.Dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
