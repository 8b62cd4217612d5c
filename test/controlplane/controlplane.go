package controlplane

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// BinariesVariable names the environment variable with the directory of the
// programs that Start runs.
const BinariesVariable = "MOB_TEST_BINARIES"

// adminToken authenticates the tests themselves.
const adminToken = "integration-admin"

// tokenSeconds is how long a ServiceAccount's token is good for.
const tokenSeconds = 4 * 3600

// ControlPlane is one that runs.
type ControlPlane struct {
	// Config is the administrator's connection, Kubeconfig a file that says the same.
	Config     *rest.Config
	Kubeconfig string

	dir      string
	binaries string
	stop     []func()
}

// errNoBinaries says how to get what the tests run on.
var errNoBinaries = errors.New(BinariesVariable + " does not name the directory with etcd, kube-apiserver, kube-controller-manager and kubectl; run make integration, or: export " +
	BinariesVariable + "=$(go -C test/cluster run . binaries etcd kube-apiserver kube-controller-manager kubectl)")

// Start starts a control plane that keeps its files in dir, applies the
// manifests of a kustomize directory, and returns once the API server serves
// their kinds. The API server gets the flags besides those that it needs. The
// caller stops it.
func Start(ctx context.Context, dir, manifests string, flags ...string) (*ControlPlane, error) {
	c := &ControlPlane{dir: dir, binaries: os.Getenv(BinariesVariable)}
	if c.binaries == "" {
		return nil, errNoBinaries
	}
	if err := c.start(ctx, manifests, flags); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *ControlPlane) start(ctx context.Context, manifests string, flags []string) error {
	if err := c.startServer(ctx, flags); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "", "apply", "--server-side", "-k", manifests); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "", "wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"); err != nil {
		return err
	}
	// The garbage collector learns of kinds that come later only every 30 s.
	return c.startManager()
}

func (c *ControlPlane) startServer(ctx context.Context, flags []string) error {
	addresses, err := FreeAddresses(3)
	if err != nil {
		return err
	}
	etcd, peer, api := addresses[0], addresses[1], addresses[2]
	if err := c.writeFiles(api); err != nil {
		return err
	}
	if err := c.run("etcd", "--data-dir", c.path("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://"+etcd, "--advertise-client-urls", "http://"+etcd,
		"--listen-peer-urls", "http://"+peer, "--log-level", "warn"); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(api)
	if err != nil {
		return err
	}
	if err := c.run("kube-apiserver", append(flags, "--etcd-servers", "http://"+etcd, "--cert-dir", c.path("certs"),
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
		"--token-auth-file", c.path("tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", c.path("sa.key"),
		"--service-account-signing-key-file", c.path("sa.key"), "--service-cluster-ip-range", "10.0.0.0/24",
		"--endpoint-reconciler-type", "none", "--disable-admission-plugins", "ServiceAccount",
		"--enable-priority-and-fairness=false", "--profiling=false")...); err != nil {
		return err
	}
	c.Config = &rest.Config{Host: "https://" + api, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 500, Burst: 1000}
	return c.waitReady(ctx)
}

func (c *ControlPlane) startManager() error {
	addresses, err := FreeAddresses(1)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(addresses[0])
	if err != nil {
		return err
	}
	return c.run("kube-controller-manager", "--kubeconfig", c.Kubeconfig, "--leader-elect=false",
		"--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", c.path("certs-kcm"),
		"--kube-api-qps", "1000", "--kube-api-burst", "2000",
		"--controllers", "garbage-collector-controller,namespace-controller")
}

func (c *ControlPlane) path(name string) string { return filepath.Join(c.dir, name) }

func (c *ControlPlane) writeFiles(api string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	c.Kubeconfig = c.path("kubeconfig")
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, content := range map[string][]byte{
		"sa.key":     pemKey,
		"tokens.csv": []byte(adminToken + ",admin,admin,system:masters\n"),
		"kubeconfig": kubeconfig("https://"+api, adminToken),
	} {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func kubeconfig(server, token string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, server, token)
}

// run starts a program that lives until Stop; its output goes to a file.
func (c *ControlPlane) run(name string, args ...string) error {
	output, err := os.Create(c.path(name + ".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(c.binaries, name), args...)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	c.stop = append(c.stop, func() {
		_ = cmd.Process.Kill() // it keeps nothing
		_ = cmd.Wait()
		_ = output.Close()
	})
	return nil
}

func (c *ControlPlane) waitReady(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, 2*time.Minute, true, func(ctx context.Context) (bool, error) {
		body, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil && string(body) == "ok", nil
	})
	if err != nil {
		output, _ := os.ReadFile(c.path("kube-apiserver.log"))
		return fmt.Errorf("kube-apiserver did not become ready: %w\n%s", err, lastBytes(output, 2000))
	}
	return nil
}

func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// ServiceAccount returns a connection with a token of a ServiceAccount, which
// has the rights that the manifests give it and no other.
func (c *ControlPlane) ServiceAccount(ctx context.Context, namespace, name string) (*rest.Config, error) {
	client, err := kubernetes.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	expiry := int64(tokenSeconds)
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &expiry}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	config := rest.AnonymousClientConfig(c.Config)
	config.BearerToken = token.Status.Token
	config.QPS, config.Burst = c.Config.QPS, c.Config.Burst
	return config, nil
}

// WriteKubeconfig writes a connection to a file, for programs that read one.
// The server may be another address that leads to the same one.
func WriteKubeconfig(path, server string, config *rest.Config) error {
	return os.WriteFile(path, kubeconfig(server, config.BearerToken), 0o600)
}

// Kubectl runs kubectl as the administrator and returns what it printed.
func (c *ControlPlane) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.binaries, "kubectl"), append([]string{"--kubeconfig", c.Kubeconfig}, args...)...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %v: %w\n%s", args, err, out)
	}
	return string(out), nil
}

// Stop ends everything that was started, newest first.
func (c *ControlPlane) Stop() {
	for i := len(c.stop) - 1; i >= 0; i-- {
		c.stop[i]()
	}
	c.stop = nil
}

// FreeAddresses returns host:port addresses that nobody listens on.
func FreeAddresses(n int) ([]string, error) {
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
