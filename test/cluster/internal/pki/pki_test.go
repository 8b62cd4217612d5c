package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestIssuedCertificateVerifies(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	ca, err := NewAuthority(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Issue(Leaf{Name: "registry", CommonName: "registry", IPs: []string{"10.0.0.1", "127.0.0.1"}, DNS: []string{"registry.local"}}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "registry.crt"), filepath.Join(dir, "registry.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	b, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(b) {
		t.Fatalf("reading the CA: %v", err)
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for host, good := range map[string]bool{"10.0.0.1": true, "127.0.0.1": true, "registry.local": true, "10.0.0.2": false} {
		_, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now})
		if (err == nil) != good {
			t.Errorf("%s: verified %v, want %v (%v)", host, err == nil, good, err)
		}
	}
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now.Add(lifetime + time.Hour)}); err == nil {
		t.Error("verified after its lifetime")
	}
}

func TestIssueRefusesWhatIsNoAddress(t *testing.T) {
	ca, err := NewAuthority(t.TempDir(), time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := ca.Issue(Leaf{Name: "x", IPs: []string{"localhost"}}); err == nil {
		t.Error("no error for localhost as an IP address")
	}
}

func TestTokensDiffer(t *testing.T) {
	a, errA := Token()
	b, errB := Token()
	if errA != nil || errB != nil || a == b || len(a) != 32 {
		t.Errorf("got %q and %q, %v %v", a, b, errA, errB)
	}
}
