package ospackages_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

func TestNew(t *testing.T) {
	for _, test := range []struct {
		name       string
		extensions []string
		kernelType string
		zero       bool
		text       string
	}{
		{"nothing", nil, "", true, ""},
		{"the default kernel", []string{}, "default", true, ""},
		{"one extension", []string{"usbguard"}, "default", false, "extension usbguard"},
		{"each extension once, in order", []string{"usbguard", "ipsec", "usbguard"}, "", false, "extensions ipsec, usbguard"},
		{"a kernel", nil, "64k-pages", false, "kernel 64k-pages"},
		{"both", []string{"kerberos"}, "realtime", false, "kernel realtime and extension kerberos"},
	} {
		w := ospackages.New(test.extensions, test.kernelType)
		if w.IsZero() != test.zero || w.String() != test.text {
			t.Errorf("%s: zero %v, %q", test.name, w.IsZero(), w)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name       string
		extensions []string
		kernelType string
		says       []string // nothing for no error
	}{
		{name: "nothing"},
		{name: "known", extensions: []string{"ipsec", "kerberos", "kernel-devel", "sandboxed-containers", "sysstat", "two-node-ha", "usbguard", "wasm"}, kernelType: "default"},
		{name: "known with another kernel", extensions: []string{"ipsec", "kerberos", "sandboxed-containers", "sysstat", "two-node-ha", "usbguard", "wasm"}, kernelType: "realtime"},
		{name: "what is for the default kernel alone", extensions: []string{"ipsec", "kernel-devel"}, kernelType: "64k-pages", says: []string{
			"spec.extensions", `"kernel-devel" is for the default kernel alone`, `spec.kernelType is "64k-pages"`, "leave one of them out",
		}},
		{name: "the default kernel", kernelType: "default"},
		{name: "a package is no extension", extensions: []string{"usbguard", "krb5-workstation", "a\nb"}, says: []string{
			"spec.extensions", `"krb5-workstation"`, `"a\nb"`, "ipsec, kerberos, kernel-devel, sandboxed-containers, sysstat, two-node-ha, usbguard, wasm", "custom Dockerfile",
		}},
		{name: "another kernel", kernelType: "fast", says: []string{"spec.kernelType", `"fast"`, "default, realtime or 64k-pages"}},
		{name: "both", extensions: []string{"x"}, kernelType: "y", says: []string{`"x"`, `"y"`}},
		{name: "an unknown kernel beside what is for the default one", extensions: []string{"kernel-devel"}, kernelType: "y", says: []string{`there is no kernel "y"`}},
	} {
		err := ospackages.New(test.extensions, test.kernelType).Check()
		if (err != nil) != (len(test.says) > 0) {
			t.Errorf("%s: error = %v", test.name, err)
			continue
		}
		for _, want := range test.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", test.name, err, want)
			}
		}
	}
}

// TestConflict: what an extension and a kernel have against each other is told
// apart from what neither may be.
func TestConflict(t *testing.T) {
	for _, test := range []struct {
		extensions []string
		kernelType string
		conflict   string
	}{
		{nil, "realtime", ""},
		{[]string{"kernel-devel"}, "", ""},
		{[]string{"kernel-devel"}, "default", ""},
		{[]string{"kernel-devel"}, "fast", ""},
		{[]string{"usbguard"}, "realtime", ""},
		{[]string{"kernel-devel", "usbguard"}, "realtime", "kernel-devel"},
	} {
		if got := ospackages.New(test.extensions, test.kernelType).Conflict(); got != test.conflict {
			t.Errorf("%v, %s: %q, want %q", test.extensions, test.kernelType, got, test.conflict)
		}
	}
}

func TestCheckArchitecture(t *testing.T) {
	for _, test := range []struct {
		kernelType, architecture string
		refused                  bool
	}{
		{"", "amd64", false},
		{"realtime", "amd64", false},
		{"64k-pages", "arm64", false},
		{"64k-pages", "amd64", true},
		{"64k-pages", "s390x", true},
	} {
		err := ospackages.New(nil, test.kernelType).CheckArchitecture(test.architecture)
		if (err != nil) != test.refused {
			t.Errorf("%s on %s: error = %v", test.kernelType, test.architecture, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "arm64 alone") || !strings.Contains(err.Error(), test.architecture)) {
			t.Errorf("%q does not name both architectures", err)
		}
	}
}

func TestPackages(t *testing.T) {
	kernels := []string{"kernel", "kernel-core", "kernel-modules", "kernel-modules-core", "kernel-modules-extra"}
	for _, test := range []struct {
		extensions []string
		kernelType string
		want       ospackages.Packages
	}{
		{nil, "", ospackages.Packages{}},
		{[]string{"usbguard", "kerberos"}, "", ospackages.Packages{Install: []string{"krb5-workstation", "libkadm5", "usbguard"}}},
		{[]string{"wasm"}, "realtime", ospackages.Packages{
			Install:  []string{"crun-wasm", "kernel-rt-core", "kernel-rt-modules", "kernel-rt-modules-extra"},
			Optional: []string{"kernel-rt-modules-core", "kernel-rt-kvm"}, Remove: kernels,
		}},
		{nil, "64k-pages", ospackages.Packages{
			Install: []string{"kernel-64k-core", "kernel-64k-modules", "kernel-64k-modules-core", "kernel-64k-modules-extra"}, Remove: kernels,
		}},
	} {
		got := ospackages.New(test.extensions, test.kernelType).Packages()
		if !slices.Equal(got.Install, test.want.Install) || !slices.Equal(got.Optional, test.want.Optional) || !slices.Equal(got.Remove, test.want.Remove) {
			t.Errorf("%v, %s: %+v, want %+v", test.extensions, test.kernelType, got, test.want)
		}
	}
}
