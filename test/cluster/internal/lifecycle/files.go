package lifecycle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/component"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/pki"
)

// files are the configuration files, by path below the work directory.
func (c Cluster) files() map[string]string {
	d := c.Dirs
	return map[string]string{
		"containerd.toml":      component.ContainerdConfig(d),
		"kubelet.yaml":         component.KubeletConfig(d),
		"registry.yaml":        component.RegistryConfig(d, "registry", layout.Registry, ""),
		"registry-auth.yaml":   component.RegistryConfig(d, "registry-auth", layout.AuthRegistry, d.PKI("htpasswd")),
		"cni/10-pods.conflist": component.CNIConfig(d),
		filepath.Join("certs.d", layout.Registry, "hosts.toml"):     component.RegistryHosts(d, layout.Registry),
		filepath.Join("certs.d", layout.AuthRegistry, "hosts.toml"): component.RegistryHosts(d, layout.AuthRegistry),
	}
}

func (c Cluster) writeFiles() error {
	for name, text := range c.files() {
		path := c.Dirs.Path(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeSecrets makes certificates, tokens, kubeconfigs and the second registry's user.
func (c Cluster) writeSecrets(now time.Time) (user, password string, err error) {
	ca, err := pki.NewAuthority(c.Dirs.Path("pki"), now)
	if err != nil {
		return "", "", fmt.Errorf("making the cluster's CA: %w", err)
	}
	service := []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}
	for _, l := range []pki.Leaf{
		{Name: "apiserver", CommonName: "kube-apiserver", IPs: []string{layout.BridgeIP, layout.ServiceIP, "127.0.0.1"}, DNS: service},
		{Name: "kubelet", CommonName: layout.NodeName, IPs: []string{layout.BridgeIP}, DNS: []string{layout.NodeName}},
		{Name: "kubelet-client", CommonName: "kube-apiserver", Organization: []string{"system:masters"}},
		{Name: "registry", CommonName: "registry", IPs: []string{layout.BridgeIP, "127.0.0.1"}, DNS: []string{"localhost"}},
	} {
		if err := ca.Issue(l); err != nil {
			return "", "", err
		}
	}
	if err := pki.WriteSigningKey(c.Dirs.PKI("sa.key")); err != nil {
		return "", "", err
	}
	if err := c.writeUsers(); err != nil {
		return "", "", err
	}
	return c.writeRegistryUser()
}

func (c Cluster) writeUsers() error {
	if err := os.MkdirAll(c.Dirs.Path("kubeconfig"), 0o755); err != nil {
		return err
	}
	var lines strings.Builder
	for _, u := range component.Users() {
		token, err := pki.Token()
		if err != nil {
			return err
		}
		lines.WriteString(u.TokenLine(token))
		if err := os.WriteFile(c.Dirs.Kubeconfig(u.Name), []byte(component.Kubeconfig(c.Dirs, token)), 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(c.Dirs.PKI(u.Name+".token"), []byte(token), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(c.Dirs.PKI("tokens.csv"), []byte(lines.String()), 0o600)
}

func (c Cluster) writeRegistryUser() (user, password string, err error) {
	user = "builder"
	if password, err = pki.Token(); err != nil {
		return "", "", err
	}
	hashed, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", "", err
	}
	return user, password, os.WriteFile(c.Dirs.PKI("htpasswd"), fmt.Appendf(nil, "%s:%s\n", user, hashed), 0o600)
}
