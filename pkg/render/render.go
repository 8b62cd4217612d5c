package render

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

var configKind = mcfgv1.GroupVersion.WithKind("MachineConfig")

// Rendered is a pool's rendered config and how it came about.
type Rendered struct {
	// Config is as it is to be created.
	Config *mcfgv1.MachineConfig
	// Sources are the MachineConfigs it was made of, in the order in which they
	// were merged, for spec.configuration.source of the pool.
	Sources []corev1.ObjectReference
	// Warnings are for the administrator and stop nothing.
	Warnings []string
}

// Render merges what a pool selects into its rendered config, by the rules in
// the package's documentation. The order of the sources does not matter. version
// is that of the controller; it is an annotation and not part of the content.
//
// Errors: a *Refusal that names every MachineConfig that cannot be rendered and
// says why, or those that do not go together.
func Render(pool *mcfgv1.MachineConfigPool, sources []*Source, version string) (*Rendered, error) {
	if len(sources) == 0 {
		return nil, &Refusal{api.ReasonNoMachineConfigs, "the pool selects no MachineConfig to render"}
	}
	sources = slices.SortedFunc(slices.Values(sources), func(a, b *Source) int { return cmp.Compare(a.name, b.name) })
	if refusal := problems(sources); refusal != nil {
		return nil, refusal
	}
	spec := mergeFields(sources)
	if refusal := conflict(sources, spec); refusal != nil {
		return nil, refusal
	}
	cfg, err := mergeIgnition(sources)
	if err != nil {
		return nil, err
	}
	if spec.Config.Raw, err = ignition.Encode(cfg); err != nil {
		return nil, err
	}
	content, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding rendered config of pool %q: %w", pool.Name, err)
	}
	r := &Rendered{Config: &mcfgv1.MachineConfig{
		TypeMeta: metav1.TypeMeta{APIVersion: configKind.GroupVersion().String(), Kind: configKind.Kind},
		ObjectMeta: metav1.ObjectMeta{
			Name:            names.Rendered(pool.Name, names.Content(content)),
			Annotations:     map[string]string{api.AnnotationGeneratedBy: version},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(pool, poolKind)},
		},
		Spec: spec,
	}}
	for _, s := range sources {
		r.Sources = append(r.Sources, corev1.ObjectReference{APIVersion: r.Config.APIVersion, Kind: r.Config.Kind, Name: s.name})
		r.Warnings = append(r.Warnings, s.warnings...)
	}
	return r, nil
}

// problems puts what is wrong with the sources into one refusal; nil when
// nothing is.
func problems(sources []*Source) *Refusal {
	var found []string
	for _, s := range sources {
		if s.problem != nil {
			found = append(found, fmt.Sprintf("MachineConfig %q, %s", s.name, strings.ReplaceAll(s.problem.Error(), "\n", "; ")))
		}
	}
	if len(found) == 0 {
		return nil
	}
	return &Refusal{api.ReasonInvalidMachineConfig, bounded(strings.Join(found, "; ")) + ": correct it, or take away the label by which the pool selects it"}
}

// maxMessage is how many runes a message has room for: it goes into conditions.
const maxMessage = 4000

func bounded(text string) string {
	if runes := []rune(text); len(runes) > maxMessage {
		return string(runes[:maxMessage]) + " …"
	}
	return text
}

// mergeFields merges all but the Ignition configs. Lists are never nil: the
// API's schema wants them.
func mergeFields(sources []*Source) mcfgv1.MachineConfigSpec {
	merged := mcfgv1.MachineConfigSpec{KernelType: ospackages.KernelDefault, KernelArguments: []string{}, Extensions: []string{}}
	for _, s := range sources {
		merged.OSImageURL = cmp.Or(s.spec.OSImageURL, merged.OSImageURL)
		merged.BaseOSExtensionsContainerImage = cmp.Or(s.spec.BaseOSExtensionsContainerImage, merged.BaseOSExtensionsContainerImage)
		// The kernel reads its arguments in order, and some count for those
		// after them: "hugepagesz=1G hugepages=4 hugepagesz=2M hugepages=4".
		merged.KernelArguments = append(merged.KernelArguments, s.spec.KernelArguments...)
		merged.Extensions = append(merged.Extensions, s.spec.Extensions...)
		merged.FIPS = merged.FIPS || s.spec.FIPS
		if s.spec.KernelType != "" && s.spec.KernelType != ospackages.KernelDefault {
			merged.KernelType = s.spec.KernelType
		}
	}
	slices.Sort(merged.Extensions)
	merged.Extensions = slices.Compact(merged.Extensions)
	return merged
}

// conflict refuses packages that are allowed in each source and not together;
// nil when they are.
func conflict(sources []*Source, merged mcfgv1.MachineConfigSpec) *Refusal {
	wanted := ospackages.New(merged.Extensions, merged.KernelType)
	extension := wanted.Conflict()
	if extension == "" {
		return nil
	}
	var parties []string
	for _, s := range sources {
		if slices.Contains(s.spec.Extensions, extension) || ospackages.New(nil, s.spec.KernelType).KernelType != "" {
			parties = append(parties, fmt.Sprintf("%q", s.name))
		}
	}
	return &Refusal{api.ReasonConflictingMachineConfigs, fmt.Sprintf(
		"MachineConfigs %s do not go together: %v", bounded(strings.Join(parties, ", ")), wanted.Check())}
}

// mergeIgnition merges the Ignition configs and lets files overwrite.
func mergeIgnition(sources []*Source) (ignition.Config, error) {
	configs := make([]ignition.Config, len(sources))
	for i, s := range sources {
		configs[i] = s.config
	}
	merged, err := ignition.Merge(configs...)
	var conflict *ignition.MergeError
	if errors.As(err, &conflict) {
		return ignition.Config{}, &Refusal{api.ReasonConflictingMachineConfigs, fmt.Sprintf(
			"MachineConfig %q does not go with those of the pool that come before it by name; merged, spec.config is invalid: %v: change it or them",
			sources[conflict.Index].name, bounded(conflict.Err.Error()))}
	}
	if err != nil {
		return ignition.Config{}, err
	}
	// The sources share the list.
	merged.Storage.Files = slices.Clone(merged.Storage.Files)
	overwrite := true
	for i := range merged.Storage.Files {
		// Ignition refuses to overwrite by nothing.
		if f := &merged.Storage.Files[i]; f.Overwrite == nil && f.Contents.Source != nil {
			f.Overwrite = &overwrite
		}
	}
	return merged, nil
}
