package osbuild

import (
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

// askingFor is a rendered config, as Summarize reads it, that asks for packages.
func askingFor(t *testing.T, extensions []string, kernelType, image string) func(*Inputs) {
	t.Helper()
	config, err := Summarize(&mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: configA},
		Spec: mcfgv1.MachineConfigSpec{
			Config: runtime.RawExtension{Raw: []byte(`{"ignition":{"version":"3.4.0"}}`)}, Extensions: extensions, KernelType: kernelType,
			BaseOSExtensionsContainerImage: image,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(in *Inputs) { in.Config = config }
}

// TestPackages: what a config asks for stands in the Dockerfile, and something runs.
func TestPackages(t *testing.T) {
	const extensions = "registry.example.com/ext:1"
	cluster := func(in *Inputs) { in.Settings.ExtensionsImage = extensions }
	dockerfileText := func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\nRUN true\n" }
	for name, row := range map[string]struct {
		changes []func(*Inputs)
		runs    bool
		from    string
		wanted  string
	}{
		"the default kernel": {[]func(*Inputs){askingFor(t, []string{}, "default", ""), cluster}, false, "", ""},
		"an extension":       {[]func(*Inputs){askingFor(t, []string{"usbguard"}, "", ""), cluster}, true, extensions, "extension usbguard"},
		"a kernel":           {[]func(*Inputs){askingFor(t, nil, "realtime", ""), cluster}, true, extensions, "kernel realtime"},
		"both, under a custom Dockerfile": {
			[]func(*Inputs){askingFor(t, []string{"wasm", "ipsec"}, "realtime", ""), cluster, dockerfileText},
			true, extensions, "kernel realtime and extensions ipsec, wasm",
		},
		"an image of the config's own": {
			[]func(*Inputs){askingFor(t, []string{"usbguard"}, "", "registry.example.com/own@sha256:"+strings.Repeat("1", 64)), cluster},
			true, "registry.example.com/own@sha256:" + strings.Repeat("1", 64), "extension usbguard",
		},
	} {
		d := Desire(inputs(row.changes...))
		if d.Request == nil {
			t.Errorf("%s: no request: %+v", name, d.Blocked)
			continue
		}
		file, err := dockerfile.ParseRendered(d.Request.Dockerfile)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := file.Configs(); got.Extensions != row.from || got.Packages.String() != row.wanted || d.Request.CustomContent != row.runs {
			t.Errorf("%s: %s from %q, custom content: %v", name, got.Packages, got.Extensions, d.Request.CustomContent)
		}
	}
}

func TestPackagesThatCannotBeHad(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Inputs)
		reason string
		says   []string
	}{
		"no extensions image": {
			askingFor(t, []string{"usbguard"}, "realtime", ""), api.ReasonInvalidConfig,
			[]string{"kernel realtime and extension usbguard", configA, "spec.baseOSExtensionsContainerImage", api.ConfigMapOSImageURL, api.KeyBaseOSExtensionsContainerImage},
		},
		"an extensions image that is no pullspec": {
			askingFor(t, []string{"usbguard"}, "", "a b"), api.ReasonInvalidConfig, []string{"spec.baseOSExtensionsContainerImage", configA, `"a b"`},
		},
		"an unknown extension": {
			askingFor(t, []string{"usbgard"}, "", ""), api.ReasonInvalidRenderedConfig, []string{configA, "spec.extensions", `"usbgard"`, "usbguard"},
		},
		"an unknown kernel": {
			askingFor(t, nil, "fast", ""), api.ReasonInvalidRenderedConfig, []string{configA, "spec.kernelType", `"fast"`, "64k-pages"},
		},
	} {
		d := Desire(inputs(row.change))
		if d.Blocked == nil || d.Blocked.Reason != row.reason {
			t.Errorf("%s: blocked by %+v", name, d.Blocked)
			continue
		}
		for _, want := range row.says {
			if !strings.Contains(d.Blocked.Message, want) {
				t.Errorf("%s: %q does not say %s", name, d.Blocked.Message, want)
			}
		}
	}
}

// TestPackagesAreInputs: another kernel or extension is another image.
func TestPackagesAreInputs(t *testing.T) {
	identities := map[string]string{}
	for name, change := range map[string]func(*Inputs){
		"nothing": askingFor(t, nil, "", ""), "usbguard": askingFor(t, []string{"usbguard"}, "", ""),
		"ipsec": askingFor(t, []string{"ipsec"}, "", ""), "realtime": askingFor(t, nil, "realtime", ""), "64k-pages": askingFor(t, nil, "64k-pages", ""),
	} {
		d := Desire(inputs(change, func(in *Inputs) { in.Settings.ExtensionsImage = "registry.example.com/ext:1" }))
		if d.Request == nil {
			t.Fatalf("%s: %+v", name, d.Blocked)
		}
		if other, taken := identities[d.Request.ID]; taken {
			t.Errorf("%s is the same image as %s", name, other)
		}
		identities[d.Request.ID] = name
	}
}
