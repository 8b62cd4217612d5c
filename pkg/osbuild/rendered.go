package osbuild

import (
	"encoding/json"
	"fmt"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// RenderedConfig is what the decisions need of a rendered MachineConfig.
type RenderedConfig struct {
	Name string
	// SpecHash identifies the spec's content.
	SpecHash        string
	OSImageURL      string
	ExtensionsImage string
	// Unsupported says what of the spec cannot be built; nil when all can.
	Unsupported error
	// Warnings say what of the spec is not part of an image.
	Warnings []Warning
}

// kernelTypeDefault is the kernel that a base image comes with
// (MachineConfigSpec.kernelType; empty means the same).
const kernelTypeDefault = "default"

// Summarize reads a MachineConfig. Its error is one of encoding; a config that
// cannot be built is summarized all the same.
func Summarize(mc *mcfgv1.MachineConfig) (*RenderedConfig, error) {
	spec, err := json.Marshal(mc.Spec)
	if err != nil {
		return nil, fmt.Errorf("encoding MachineConfig %q: %w", mc.Name, err)
	}
	r := &RenderedConfig{
		Name: mc.Name, SpecHash: names.Content(spec),
		OSImageURL: mc.Spec.OSImageURL, ExtensionsImage: mc.Spec.BaseOSExtensionsContainerImage,
		Unsupported: unsupported(mc.Spec),
	}
	if len(mc.Spec.KernelArguments) > 0 {
		r.Warnings = append(r.Warnings, Warning{api.EventNotInImage, fmt.Sprintf("spec.kernelArguments of MachineConfig %q are not part of the image; the node's own agent has to set them", mc.Name)})
	}
	if mc.Spec.FIPS {
		r.Warnings = append(r.Warnings, Warning{api.EventNotInImage, fmt.Sprintf("spec.fips of MachineConfig %q is not part of the image; it is set when a node is installed", mc.Name)})
	}
	return r, nil
}

// unsupported refuses what would be missing from an image that claims to hold it.
func unsupported(spec mcfgv1.MachineConfigSpec) error {
	if err := ignition.Check(spec.Config.Raw); err != nil {
		return fmt.Errorf("spec.config: %w", err)
	}
	if len(spec.Extensions) > 0 {
		return fmt.Errorf("spec.extensions: %s: this version installs no extensions; remove them, or install the packages in a custom Dockerfile", strings.Join(spec.Extensions, ", "))
	}
	if spec.KernelType != "" && spec.KernelType != kernelTypeDefault {
		return fmt.Errorf("spec.kernelType: %q: this version installs no kernel; use %q, or install it in a custom Dockerfile", spec.KernelType, kernelTypeDefault)
	}
	return nil
}
