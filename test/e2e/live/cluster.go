package live

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
)

// Namespace is where the product works.
const Namespace = api.DefaultNamespace

// Cluster is a running cluster, seen by its administrator.
type Cluster struct {
	Env
	Clients kube.Clients
	// Canary is a login that every Secret holds besides the real one: it must be
	// found nowhere else.
	Canary Login
	// Root is the repository's top folder.
	Root string

	registry http.RoundTripper // trusts the registries
	ca       string            // the certificate they are trusted by
	locked   *os.File
}

// Connect finds the running cluster; ErrNoCluster when there is none. Until the
// process ends, other programs that connect wait.
func Connect(ctx context.Context) (*Cluster, error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	env, err := loadEnv(ctx, root)
	if err != nil {
		return nil, err
	}
	locked, err := lock(ctx, env)
	if err != nil {
		return nil, err
	}
	config, err := kube.Config(env.Kubeconfig, "machine-os-builder-e2e")
	if err != nil {
		return nil, err
	}
	clients, err := kube.NewClients(config)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(env.RegistryCA)
	if err != nil {
		return nil, fmt.Errorf("reading the registry's certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &Cluster{
		Env: env, Clients: clients, Canary: NewCanary(), Root: root, ca: string(ca), locked: locked,
		registry: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}},
	}, nil
}

// AuthLogin is that of the registry that asks for one.
func (c *Cluster) AuthLogin() Login {
	return Login{c.AuthRegistry, c.AuthUser, c.AuthPassword}
}

// Kubectl runs kubectl as an administrator would and returns what it printed.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.kubectl(ctx, "", args...)
}

func (c *Cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := c.KubectlCommand(ctx, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out.String(), nil
}

// KubectlCommand is kubectl, not yet started.
func (c *Cluster) KubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, c.Env.Kubectl, append([]string{"--kubeconfig", c.Kubeconfig, "--namespace", Namespace}, args...)...)
}
