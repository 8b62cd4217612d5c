package render

import (
	"errors"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

// Source is one MachineConfig as it was read. It is not changed any more and
// serves any number of pools at once.
type Source struct {
	name string
	// spec is without the Ignition config.
	spec     mcfgv1.MachineConfigSpec
	config   ignition.Config
	warnings []string
	// problem says what of it cannot be rendered.
	problem error
}

// readSource reads a MachineConfig. What is wrong with it is part of the result, and
// is told when a pool that selects it is rendered. convert is for configs of
// Ignition's spec 2.
//
// Errors: ignition.ErrNoConverter, wrapped.
func readSource(mc *mcfgv1.MachineConfig, convert ignition.Converter) (*Source, error) {
	s := &Source{name: mc.Name, spec: *mc.Spec.DeepCopy()}
	s.spec.Config.Raw, s.spec.Config.Object = nil, nil
	cfg, warned, err := ignition.Parse(mc.Spec.Config.Raw, convert)
	if errors.Is(err, ignition.ErrNoConverter) {
		return nil, fmt.Errorf("reading MachineConfig %q: %w", mc.Name, err)
	}
	if err == nil {
		err = s.checkReferences(cfg)
	}
	if err != nil {
		err = fmt.Errorf("spec.config: %w", err)
	}
	s.config, s.problem = cfg, errors.Join(err, checkFields(mc.Spec))
	for _, warning := range warned {
		s.warn("spec.config: " + warning)
	}
	return s, nil
}

// checkReferences judges what the config refers to by URL. Such configs are
// fetched when the image is made, and then laid over all that was merged here;
// a replacement would take the place of it all.
func (s *Source) checkReferences(cfg ignition.Config) error {
	if cfg.Ignition.Config.Replace.Source != nil {
		return errors.New("$.ignition.config.replace: it would replace the configs of the whole pool: put the content of what it refers to here instead")
	}
	if len(cfg.Ignition.Config.Merge) > 0 {
		s.warn("spec.config: $.ignition.config.merge: what it refers to is laid over the MachineConfigs of the whole pool, later ones too")
	}
	return nil
}

// checkFields judges all but the Ignition config, as the build of an image does.
func checkFields(spec mcfgv1.MachineConfigSpec) error {
	err := ospackages.New(spec.Extensions, spec.KernelType).Check()
	for _, image := range []struct{ field, pullspec string }{
		{"osImageURL", spec.OSImageURL},
		{"baseOSExtensionsContainerImage", spec.BaseOSExtensionsContainerImage},
	} {
		if image.pullspec == "" {
			continue
		}
		if wrong := buildconfig.CheckPullspec(image.pullspec); wrong != nil {
			err = errors.Join(err, fmt.Errorf("spec.%s: %w", image.field, wrong))
		}
	}
	return err
}

func (s *Source) warn(text string) {
	s.warnings = append(s.warnings, fmt.Sprintf("MachineConfig %q, %s", s.name, text))
}
