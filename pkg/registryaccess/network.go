package registryaccess

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

// ReadProxy reads the mounted settings of a proxy: a file for each, any of which
// may be missing. No error shows what is in them.
func ReadProxy(dir string) (proxy.Config, error) {
	var config proxy.Config
	if dir == "" {
		return config, nil
	}
	for key, into := range map[string]*string{api.KeyHTTPProxy: &config.HTTP, api.KeyHTTPSProxy: &config.HTTPS, api.KeyNoProxy: &config.No} {
		content, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return config, invalid("reading the proxy's settings: %w", err)
		}
		*into = strings.TrimSpace(string(content))
	}
	if err := config.Check(); err != nil {
		return config, invalid("reading the proxy's settings: %w", err)
	}
	return config, nil
}

// readMirrors reads the mounted registries.conf and checks it against the hash, where
// there is one.
func readMirrors(file, sha256 string) (*registriesconf.Config, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, invalid("reading mirrors: %w", err)
	}
	if got := names.Content(text); sha256 != "" && got != sha256 {
		return nil, fmt.Errorf("%w: reading mirrors: SHA-256 is %s, not %s", ErrStale, got, sha256)
	}
	config, err := registriesconf.Parse(string(text))
	if err != nil {
		return nil, invalid("reading mirrors: %w", err)
	}
	return config, nil
}
