package main

import (
	"crypto/x509"
	"os"
	"os/exec"
	"testing"
)

// TestTrustsPublicRegistries: the controller's image holds this program and no
// other file, yet the certificate of a public registry is trusted.
func TestTrustsPublicRegistries(t *testing.T) {
	const inner, nothing = "TEST_WITHOUT_SYSTEM_CERTIFICATES", "/nonexistent"
	if os.Getenv(inner) == "" {
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		command := exec.CommandContext(t.Context(), program, "-test.run=^TestTrustsPublicRegistries$")
		command.Env = append(os.Environ(), inner+"=1", "SSL_CERT_FILE="+nothing, "SSL_CERT_DIR="+nothing)
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("without system files: %v\n%s", err, out)
		}
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		t.Fatal(err)
	}
	if pool.Equal(x509.NewCertPool()) {
		t.Error("no authority is trusted")
	}
}
