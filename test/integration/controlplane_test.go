package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// adminToken authenticates the tests themselves.
const adminToken = "integration-admin"

// controlPlane is a running etcd, kube-apiserver and kube-controller-manager.
type controlPlane struct {
	dir        string
	binaries   string
	kubeconfig string
	Config     *rest.Config
	stop       []func()
}

// errNoBinaries says how to get what the tests run on.
var errNoBinaries = errors.New("MOB_TEST_BINARIES does not name the directory with etcd, kube-apiserver, kube-controller-manager and kubectl; run make integration")

func startControlPlane(ctx context.Context, dir string) (_ *controlPlane, err error) {
	c := &controlPlane{dir: dir, binaries: os.Getenv("MOB_TEST_BINARIES")}
	if c.binaries == "" {
		return nil, errNoBinaries
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	etcd, peer, api := ports[0], ports[1], ports[2]
	if err := c.writeFiles(api); err != nil {
		return nil, err
	}
	if err := c.run("etcd", "--data-dir", c.path("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls", "http://"+etcd, "--advertise-client-urls", "http://"+etcd,
		"--listen-peer-urls", "http://"+peer, "--log-level", "warn"); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(api)
	if err := c.run("kube-apiserver", "--etcd-servers", "http://"+etcd, "--cert-dir", c.path("certs"),
		"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", port,
		"--token-auth-file", c.path("tokens.csv"), "--authorization-mode", "RBAC",
		"--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", c.path("sa.key"),
		"--service-account-signing-key-file", c.path("sa.key"), "--service-cluster-ip-range", "10.0.0.0/24",
		"--endpoint-reconciler-type", "none", "--disable-admission-plugins", "ServiceAccount"); err != nil {
		return nil, err
	}
	c.Config = &rest.Config{Host: "https://" + api, BearerToken: adminToken, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: 500, Burst: 1000}
	return c, c.waitReady(ctx)
}

// StartManager starts the garbage collector. It learns of kinds that come
// later only every 30 s, so it is started once they are there.
func (c *controlPlane) StartManager() error {
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(ports[0])
	if err != nil {
		return err
	}
	return c.run("kube-controller-manager", "--kubeconfig", c.kubeconfig, "--leader-elect=false",
		"--bind-address", "127.0.0.1", "--secure-port", port, "--cert-dir", c.path("certs-kcm"),
		"--controllers", "garbage-collector-controller,namespace-controller")
}

func (c *controlPlane) path(name string) string { return filepath.Join(c.dir, name) }

func (c *controlPlane) writeFiles(api string) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	c.kubeconfig = c.path("kubeconfig")
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	for name, content := range map[string][]byte{
		"sa.key":     pemKey,
		"tokens.csv": []byte(adminToken + ",admin,admin,system:masters\n"),
		"kubeconfig": fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://%s", insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: %s}}]
contexts: [{name: x, context: {cluster: c, user: u}}]
current-context: x
`, api, adminToken),
	} {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// run starts a program that lives until Stop; its output goes to a file.
func (c *controlPlane) run(name string, args ...string) error {
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

func (c *controlPlane) waitReady(ctx context.Context) error {
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

// Kubectl runs kubectl as the administrator.
func (c *controlPlane) Kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.binaries, "kubectl"), append([]string{"--kubeconfig", c.kubeconfig}, args...)...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("kubectl %v: %w\n%s", args, err, out)
	}
	return string(out), nil
}

// Stop ends everything that was started, newest first.
func (c *controlPlane) Stop() {
	for i := len(c.stop) - 1; i >= 0; i-- {
		c.stop[i]()
	}
}

func freePorts(n int) ([]string, error) {
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

func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

func discard() *log.Logger { return log.New(io.Discard, "", 0) }
