package buildah

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// Mirror lets the next pulls find an image where we read it, under its own name.
// buildah would choose by rules like ours, but it is given a digest where the
// rules may be about the tag.
func (b *Program) Mirror(base *registry.Base) error {
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
