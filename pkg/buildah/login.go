package buildah

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
)

// Login writes what buildah needs to reach registries into this container's own
// temporary directory, which Close removes, and returns the flags that name it.
func (b *Program) Login(credentials *dockerconfig.Config, cas [][]byte) ([]string, error) {
	content, err := credentials.MarshalAuthFile()
	if err != nil {
		return nil, fmt.Errorf("preparing credentials: %w", err)
	}
	authFile := filepath.Join(b.tmp, "auth.json")
	if err := os.WriteFile(authFile, content, 0o600); err != nil {
		return nil, fmt.Errorf("preparing credentials: %w", err)
	}
	certificates := filepath.Join(b.tmp, "certificates")
	if err := os.MkdirAll(certificates, 0o700); err != nil {
		return nil, fmt.Errorf("preparing certificates: %w", err)
	}
	for i, bundle := range cas {
		file := filepath.Join(certificates, fmt.Sprintf("ca-%d.crt", i))
		if err := os.WriteFile(file, bytes.TrimSpace(bundle), 0o600); err != nil {
			return nil, fmt.Errorf("preparing certificates: %w", err)
		}
	}
	return []string{"--authfile", authFile, "--cert-dir", certificates}, nil
}
