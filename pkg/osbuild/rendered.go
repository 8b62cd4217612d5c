package osbuild

import (
	"encoding/json"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

// summaryVersion changes when Summarize comes to say something else of the same
// MachineConfig.
const summaryVersion = 3

// RenderedConfig is what the decisions need of a rendered MachineConfig. A
// record keeps that of what was built, so that a controller which starts need
// not read every config again.
type RenderedConfig struct {
	Name string `json:"-"`
	// Version, UID and Generation say what was summarized, and by which rules.
	Version    int       `json:"version"`
	UID        types.UID `json:"uid"`
	Generation int64     `json:"generation"`
	// SpecHash identifies the spec's content.
	SpecHash        string `json:"specHash"`
	OSImageURL      string `json:"osImageURL,omitempty"`
	ExtensionsImage string `json:"extensionsImage,omitempty"`
	// Packages are what the extensions and the kernel type ask for.
	Packages ospackages.Wanted `json:"packages,omitzero"`
	// Unsupported says what of the spec cannot be built; nil when all can.
	Unsupported error `json:"-"`
	// Warnings say what of the spec is not part of an image.
	Warnings []Warning `json:"warnings,omitempty"`
}

// Of is true for the summary of a MachineConfig as it is now, by its metadata.
func (r *RenderedConfig) Of(m metav1.Object) bool {
	return r.Version == summaryVersion && r.UID != "" && r.UID == m.GetUID() && r.Generation == m.GetGeneration()
}

// Summarize reads a MachineConfig. Its error is one of encoding; a config that
// cannot be built is summarized all the same.
func Summarize(mc *mcfgv1.MachineConfig) (*RenderedConfig, error) {
	hash, err := SpecHash(mc)
	if err != nil {
		return nil, err
	}
	r := &RenderedConfig{
		Name: mc.Name, Version: summaryVersion, UID: mc.UID, Generation: mc.Generation, SpecHash: hash,
		OSImageURL: mc.Spec.OSImageURL, ExtensionsImage: mc.Spec.BaseOSExtensionsContainerImage,
		Packages: ospackages.New(mc.Spec.Extensions, mc.Spec.KernelType), Unsupported: unsupported(mc.Spec),
	}
	if len(mc.Spec.KernelArguments) > 0 {
		r.Warnings = append(r.Warnings, Warning{api.EventNotInImage, fmt.Sprintf("spec.kernelArguments of MachineConfig %q are part of the image only where the base image has bootc; elsewhere the node's own agent has to set them", mc.Name)})
	}
	if mc.Spec.FIPS {
		r.Warnings = append(r.Warnings, Warning{api.EventNotInImage, fmt.Sprintf("spec.fips of MachineConfig %q is not part of the image; it is set when a node is installed", mc.Name)})
	}
	return r, nil
}

// SpecHash identifies the content of a MachineConfig's spec.
func SpecHash(mc *mcfgv1.MachineConfig) (string, error) {
	spec, err := json.Marshal(mc.Spec)
	if err != nil {
		return "", fmt.Errorf("encoding MachineConfig %q: %w", mc.Name, err)
	}
	return names.Content(spec), nil
}

// unsupported refuses what would be missing from an image that claims to hold it.
func unsupported(spec mcfgv1.MachineConfigSpec) error {
	if err := ignition.Check(spec.Config.Raw); err != nil {
		return fmt.Errorf("spec.config: %w", err)
	}
	return ospackages.New(spec.Extensions, spec.KernelType).Check()
}
