package live

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// GitServer is where git repositories are cloned from over https.
type GitServer struct {
	URL string
	CA  string // by which alone it is trusted
	// Close ends it.
	Close func() error
}

// ServeGit serves the repositories of a folder to whoever has the login.
func (c *Cluster) ServeGit(ctx context.Context, root string, login Login) (GitServer, error) {
	programs, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return GitServer{}, fmt.Errorf("finding git's own server: %w", err)
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(programs)), "git-http-backend"), Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
	}
	listener, err := c.Listen()
	if err != nil {
		return GitServer{}, err
	}
	certificate, ca, err := newCertificate(listener.Addr().String())
	if err != nil {
		return GitServer{}, errors.Join(err, listener.Close())
	}
	server := &http.Server{
		ReadHeaderTimeout: time.Minute,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != login.User || password != login.Password {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			backend.ServeHTTP(w, r)
		}),
	}
	go func() { _ = server.ServeTLS(listener, "", "") }() // until it is closed
	return GitServer{"https://" + listener.Addr().String(), ca, server.Close}, nil
}

// newCertificate makes an authority, and a certificate for an address by it.
func newCertificate(address string) (tls.Certificate, string, error) {
	fail := func(err error) (tls.Certificate, string, error) {
		return tls.Certificate{}, "", fmt.Errorf("making a certificate: %w", err)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fail(err)
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the tests"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour * 24),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, caKey.Public(), caKey)
	if err != nil {
		return fail(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, NotBefore: authority.NotBefore, NotAfter: authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), caKey)
	if err != nil {
		return fail(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca})
	return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}, string(text), nil
}

// SSHServer is where git repositories are cloned from over ssh.
type SSHServer struct {
	Address    string `json:"address"`
	PrivateKey string `json:"privateKey"` // that gets in
	KnownHosts string `json:"knownHosts"`
	// Close ends it.
	Close func() error `json:"-"`
}

// ServeSSH serves the repositories of a folder.
func (c *Cluster) ServeSSH(ctx context.Context, root string) (SSHServer, error) {
	host, _, err := net.SplitHostPort(c.Registry)
	if err != nil {
		return SSHServer{}, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "go", "-C", filepath.Join(c.Root, "test", "gitssh"), "run", "./serve", "--address", net.JoinHostPort(host, "0"), "--root", root)
	// It ends with its input, which ends with this process at the latest.
	input, err := cmd.StdinPipe()
	if err != nil {
		return SSHServer{}, err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		return SSHServer{}, err
	}
	if err := cmd.Start(); err != nil {
		return SSHServer{}, fmt.Errorf("starting the ssh server: %w", err)
	}
	server := SSHServer{Close: func() error { return errors.Join(input.Close(), cmd.Wait()) }}
	if err := json.NewDecoder(output).Decode(&server); err != nil {
		return SSHServer{}, fmt.Errorf("starting the ssh server: %w (%w) %s", err, cmd.Wait(), stderr.String())
	}
	return server, nil
}
