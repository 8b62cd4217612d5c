package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Env is what is known of a running cluster; each field is a variable that
// "go -C test/cluster run . env" prints.
type Env struct {
	Kubeconfig      string // KUBECONFIG
	Kubectl         string // KUBECTL
	Logs            string // CLUSTER_LOGS: a folder
	Containerd      string // CONTAINERD_ADDRESS: a socket
	Registry        string // REGISTRY: host:port
	RegistryCA      string // REGISTRY_CA: a file
	AuthRegistry    string // AUTH_REGISTRY: the one that asks for a password
	AuthUser        string // AUTH_REGISTRY_USER
	AuthPassword    string // AUTH_REGISTRY_PASSWORD
	BaseImage       string // BASE_IMAGE: looks like an image-based operating system
	PlainImage      string // PLAIN_IMAGE: a small image, to build on
	AuthBaseImage   string // AUTH_BASE_IMAGE
	AuthPlainImage  string // AUTH_PLAIN_IMAGE
	ControllerImage string // CONTROLLER_IMAGE
	BuilderImage    string // BUILDER_IMAGE
	GitImage        string // GIT_IMAGE
}

// ErrNoCluster says how to get what everything here stands on.
var ErrNoCluster = errors.New("no cluster with the product's images is up; run: make cluster-images")

// loadEnv asks the cluster in test/cluster of the repository about itself.
func loadEnv(ctx context.Context, root string) (Env, error) {
	cmd := exec.CommandContext(ctx, "go", "-C", filepath.Join(root, "test", "cluster"), "run", ".", "env")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return Env{}, fmt.Errorf("%w (%w: %s)", ErrNoCluster, err, strings.TrimSpace(stderr.String()))
	}
	vars := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		if ok {
			vars[name] = strings.ReplaceAll(strings.Trim(value, "'"), `'\''`, "'")
		}
	}
	e := Env{
		Kubeconfig: vars["KUBECONFIG"], Kubectl: vars["KUBECTL"], Logs: vars["CLUSTER_LOGS"], Containerd: vars["CONTAINERD_ADDRESS"],
		Registry: vars["REGISTRY"], RegistryCA: vars["REGISTRY_CA"],
		AuthRegistry: vars["AUTH_REGISTRY"], AuthUser: vars["AUTH_REGISTRY_USER"], AuthPassword: vars["AUTH_REGISTRY_PASSWORD"],
		BaseImage: vars["BASE_IMAGE"], PlainImage: vars["PLAIN_IMAGE"], AuthBaseImage: vars["AUTH_BASE_IMAGE"], AuthPlainImage: vars["AUTH_PLAIN_IMAGE"],
		ControllerImage: vars["CONTROLLER_IMAGE"], BuilderImage: vars["BUILDER_IMAGE"], GitImage: vars["GIT_IMAGE"],
	}
	if e.ControllerImage == "" || e.BuilderImage == "" || e.GitImage == "" {
		return Env{}, ErrNoCluster
	}
	return e, nil
}

// findRoot is the repository's top folder, above the working directory.
func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "cluster", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this inside the repository: no folder above has test/cluster")
		}
		dir = parent
	}
}
