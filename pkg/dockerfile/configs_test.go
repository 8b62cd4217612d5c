package dockerfile_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

const extensionsImage = "quay.io/openshift/extensions@sha256:2222222222222222222222222222222222222222222222222222222222222222"

// packageCases are stages configs in which packages are installed.
var packageCases = map[string]dockerfile.Configs{
	"extension": {Base: base, Extensions: extensionsImage, Packages: ospackages.New([]string{"usbguard"}, "")},
	"kernel":    {Base: base, Extensions: extensionsImage, Packages: ospackages.New(nil, ospackages.Kernel64kPages)},
	"all": {Base: base, Extensions: extensionsImage, Packages: ospackages.New(
		[]string{"wasm", "usbguard", "two-node-ha", "sysstat", "sandboxed-containers", "kerberos", "ipsec"}, ospackages.KernelRealtime)},
}

func TestPackagesGolden(t *testing.T) {
	for name, configs := range packageCases {
		t.Run(name, func(t *testing.T) {
			rendered, err := dockerfile.Render(configs, "# escape=`\n"+final+"RUN true\n")
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, "packages-"+name, rendered)
		})
	}
}

// TestPackagesReadBack: the custom text, its lines and what was asked for come back.
func TestPackagesReadBack(t *testing.T) {
	for name, configs := range packageCases {
		for text, custom := range renderCases {
			rendered, err := dockerfile.Render(configs, custom)
			if err != nil {
				t.Fatal(err)
			}
			file, err := dockerfile.ParseRendered(rendered)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, text, err)
			}
			if !reflect.DeepEqual(file.Configs(), configs) {
				t.Errorf("%s, %s: configs %+v, want %+v", name, text, file.Configs(), configs)
			}
			if strings.Contains(custom, "FROM") && file.Custom() != custom {
				t.Errorf("%s, %s: custom text came back as %q", name, text, file.Custom())
			}
			if !file.InstallsPackages(1, 3) || file.InstallsPackages(1, 2) || file.InstallsPackages(2, 3) {
				t.Errorf("%s, %s: which step installs packages is not known", name, text)
			}
		}
	}
	plain, err := dockerfile.Render(onBase, final+"RUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	if file, err := dockerfile.ParseRendered(plain); err != nil || file.InstallsPackages(1, 3) {
		t.Errorf("a step installs packages where none are asked for, %v", err)
	}
}

func TestPackagesAreRefused(t *testing.T) {
	usbguard := ospackages.New([]string{"usbguard"}, "")
	for _, image := range []string{"", "a b", "a,source=/etc", "a\nRUN x", "$IMAGE"} {
		if _, err := dockerfile.Render(dockerfile.Configs{Base: base, Extensions: image, Packages: usbguard}, ""); !errors.Is(err, dockerfile.ErrExtensionsImage) {
			t.Errorf("%q: error = %v, want ErrExtensionsImage", image, err)
		}
	}
	unknown := dockerfile.Configs{Base: base, Extensions: extensionsImage, Packages: ospackages.New([]string{"x'; rm -rf /"}, "")}
	if text, err := dockerfile.Render(unknown, ""); err == nil {
		t.Errorf("an unknown extension was rendered:\n%s", text)
	}
}

// TestPackagesOfAnotherVersionAreNotTheUsers: a step that this version would write
// differently is no mistake of the custom Dockerfile.
func TestPackagesOfAnotherVersionAreNotTheUsers(t *testing.T) {
	rendered, err := dockerfile.Render(packageCases["all"], final)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		strings.Replace(rendered, "set -eu", "set -e", 1),
		strings.Replace(rendered, "kernel-rt-core", "kernel-rt", 1),
		strings.Replace(rendered, "kerberos", "kerbero", 1),
	} {
		if _, err := dockerfile.ParseRendered(text); !errors.Is(err, dockerfile.ErrNotRendered) {
			t.Errorf("error = %v, want ErrNotRendered", err)
		}
	}
}

// FuzzParseRendered reads anything as a rendered Dockerfile: what it makes of it
// renders to the same text.
func FuzzParseRendered(f *testing.F) {
	for _, configs := range packageCases {
		rendered, err := dockerfile.Render(configs, final+"RUN true\n")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(rendered)
		f.Add(strings.Replace(rendered, ",target", "", 1))
	}
	f.Add("FROM a AS configs\nADD machine-config.tar /\n# spec.kernelType: x; spec.extensions: y\nRUN --mount=type=bind,from=,\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := dockerfile.ParseRendered(text)
		if err != nil || !file.HasContent() {
			return
		}
		again, err := file.Render(file.Configs())
		if err != nil {
			t.Fatalf("what was read does not render: %v", err)
		}
		if again != text {
			second, err := dockerfile.ParseRendered(again)
			if err != nil || !reflect.DeepEqual(second.Configs(), file.Configs()) || second.Custom() != file.Custom() {
				t.Errorf("%q was read as %+v and %q, and that as %v", text, file.Configs(), file.Custom(), err)
			}
		}
	})
}

// TestConfigInContext: without a container of ours before it, the Dockerfile itself
// makes the config layer, with nothing of the base image.
func TestConfigInContext(t *testing.T) {
	configs := dockerfile.Configs{Base: base, InContext: &dockerfile.InContext{
		BuilderImage: "registry.example.com/builder:1", Chunks: []string{"machine-config/0000/x", "machine-config/0001/x"}, SHA256: "0123",
	}}
	for name, custom := range map[string]string{"empty": "", "custom": "# escape=`\nARG A=1\nFROM configs AS final\nRUN true\n"} {
		rendered, err := dockerfile.Render(configs, custom)
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, "context-"+name, rendered)
	}
	configs.Packages, configs.Extensions = ospackages.New([]string{"usbguard"}, ""), "registry.example.com/extensions:1"
	rendered, err := dockerfile.Render(configs, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	checkGolden(t, "context-packages", rendered)
	configs.InContext.BuilderImage = "a b"
	if _, err := dockerfile.Render(configs, ""); !errors.Is(err, dockerfile.ErrBuilderImage) {
		t.Errorf("error %v", err)
	}
}
