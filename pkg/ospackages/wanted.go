package ospackages

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Wanted is what a MachineConfig asks for besides the packages of its base image.
type Wanted struct {
	// Extensions is its spec.extensions.
	Extensions []string `json:"extensions,omitempty"`
	// KernelType is its spec.kernelType.
	KernelType string `json:"kernelType,omitempty"`
}

// New returns what a MachineConfig's fields ask for: each extension once, in
// order, and no kernel type where it is the default.
func New(extensions []string, kernelType string) Wanted {
	w := Wanted{KernelType: kernelType}
	if kernelType == KernelDefault {
		w.KernelType = ""
	}
	if len(extensions) > 0 {
		w.Extensions = slices.Compact(slices.Sorted(slices.Values(extensions)))
	}
	return w
}

// IsZero says whether nothing is asked for.
func (w Wanted) IsZero() bool { return len(w.Extensions) == 0 && w.KernelType == "" }

// String tells it for people: "kernel realtime and extensions ipsec, kerberos".
func (w Wanted) String() string {
	var parts []string
	if w.KernelType != "" {
		parts = append(parts, "kernel "+w.KernelType)
	}
	switch len(w.Extensions) {
	case 0:
	case 1:
		parts = append(parts, "extension "+w.Extensions[0])
	default:
		parts = append(parts, "extensions "+strings.Join(w.Extensions, ", "))
	}
	return strings.Join(parts, " and ")
}

// Conflict is an extension that does not go with the kernel type; empty for none.
func (w Wanted) Conflict() string {
	if _, other := kernels[w.KernelType]; !other {
		return ""
	}
	for _, name := range w.Extensions {
		if slices.Contains(defaultKernelOnly, name) {
			return name
		}
	}
	return ""
}

// Check names what there is not, and what there is, and what does not go together.
func (w Wanted) Check() error {
	var problems []string
	var unknown []string
	for _, name := range w.Extensions {
		if _, found := extensions[name]; !found {
			unknown = append(unknown, fmt.Sprintf("%q", name))
		}
	}
	if len(unknown) > 0 {
		problems = append(problems, fmt.Sprintf("spec.extensions: there is no extension %s; use %s, or install packages in a custom Dockerfile",
			strings.Join(unknown, ", "), strings.Join(slices.Sorted(maps.Keys(extensions)), ", ")))
	}
	if _, found := kernels[w.KernelType]; !found && w.KernelType != "" {
		problems = append(problems, fmt.Sprintf("spec.kernelType: there is no kernel %q; use %s, %s or %s", w.KernelType, KernelDefault, KernelRealtime, Kernel64kPages))
	}
	if name := w.Conflict(); name != "" {
		problems = append(problems, fmt.Sprintf("spec.extensions: %q is for the default kernel alone, and spec.kernelType is %q; leave one of them out", name, w.KernelType))
	}
	if len(problems) == 0 {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

// Architectures are those that what is wanted is made for, named as Go and image
// manifests do; nil for any.
func (w Wanted) Architectures() []string { return slices.Clone(kernels[w.KernelType].architectures) }

// CheckArchitecture refuses a kernel that is not made for an architecture, which
// is named as Go and image manifests do.
func (w Wanted) CheckArchitecture(architecture string) error {
	made := w.Architectures()
	if len(made) == 0 || slices.Contains(made, architecture) {
		return nil
	}
	return fmt.Errorf("spec.kernelType: %q is for %s alone, and this image is for %s; use %s or %s, or build on nodes of that architecture",
		w.KernelType, strings.Join(made, ", "), architecture, KernelDefault, KernelRealtime)
}

// Packages are package names, each list in order.
type Packages struct {
	// Install must be there in the end.
	Install []string
	// Optional are installed where they can be had.
	Optional []string
	// Remove must not be there in the end.
	Remove []string
}

// Packages returns the packages of what passed Check.
func (w Wanted) Packages() Packages {
	var p Packages
	for _, name := range w.Extensions {
		p.Install = append(p.Install, extensions[name]...)
	}
	if k, found := kernels[w.KernelType]; found {
		p.Install = append(p.Install, k.install...)
		p.Optional = slices.Clone(k.optional)
		p.Remove = slices.Clone(defaultKernel)
	}
	slices.Sort(p.Install)
	return p
}
