package imagebuilder

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
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// readProxy reads the mounted settings of a proxy: a file for each, any of which
// may be missing. No error shows what is in them.
func readProxy(dir string) (proxy.Config, error) {
	var config proxy.Config
	if dir == "" {
		return config, nil
	}
	for key, into := range map[string]*string{api.KeyHTTPProxy: &config.HTTP, api.KeyHTTPSProxy: &config.HTTPS, api.KeyNoProxy: &config.No} {
		content, err := os.ReadFile(filepath.Join(dir, key))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return config, fail(api.ReasonInvalidConfig, fmt.Errorf("reading the proxy's settings: %w", err))
		}
		*into = strings.TrimSpace(string(content))
	}
	if err := config.Check(); err != nil {
		return config, fail(api.ReasonInvalidConfig, fmt.Errorf("reading the proxy's settings: %w", err))
	}
	return config, nil
}

// readMirrors reads the mounted registries.conf and checks it against the hash.
func readMirrors(file, sha256 string) (*registriesconf.Config, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fail(api.ReasonInvalidConfig, fmt.Errorf("reading mirrors: %w", err))
	}
	if got := names.Content(text); got != sha256 {
		return nil, stale(fmt.Errorf("reading mirrors: SHA-256 is %s, not %s", got, sha256))
	}
	config, err := registriesconf.Parse(string(text))
	if err != nil {
		return nil, fail(api.ReasonInvalidConfig, fmt.Errorf("reading mirrors: %w", err))
	}
	return config, nil
}

// mirror lets the next pulls find an image where we read it, under its own name.
// buildah would choose by rules like ours, but it is given a digest where the
// rules may be about the tag.
func (b *buildah) mirror(base *registry.Base) error {
	prefix, err := registriesconf.Repository(base.Name)
	if err != nil {
		return fmt.Errorf("preparing mirrors: %w", err)
	}
	location, err := registriesconf.Repository(base.Source)
	if err != nil {
		return fmt.Errorf("preparing mirrors: %w", err)
	}
	config := registriesconf.Config{Registries: []registriesconf.Registry{{Prefix: prefix, Location: location}}}
	b.registriesConf = filepath.Join(b.tmp, "registries.conf")
	if err := os.WriteFile(b.registriesConf, []byte(config.String()), 0o600); err != nil {
		return fmt.Errorf("preparing mirrors: %w", err)
	}
	return nil
}
