//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// rpmsOf makes packages of nothing but names.
func rpmsOf(names ...string) (packages []rpm) {
	for _, name := range names {
		packages = append(packages, rpm{name: name})
	}
	return packages
}

// otherArchitecture is one that this machine is not of, as rpm names it.
func otherArchitecture(t *testing.T) string {
	if strings.TrimSpace(runProgram(t, "uname", "-m")) == "x86_64" {
		return "aarch64"
	}
	return "x86_64"
}

// install is what a pool's config and Dockerfile ask for.
type install struct {
	extensions []string
	kernelType string
	dockerfile string
}

// installs are pools that ask for packages, one config and one build each.
var installs = map[string]install{
	"extension":    {extensions: []string{"kerberos"}},
	"kernel":       {extensions: []string{"usbguard"}, kernelType: "realtime", dockerfile: "FROM configs AS final\nRUN rpm --query --all --queryformat '%{NAME} %{INSTALLTID}\\n' | sort > /etc/packages\n"},
	"failing":      {extensions: []string{"usbguard"}, dockerfile: "FROM configs AS final\n\nRUN rpm --query usbguard && exit 42\n"},
	"unavailable":  {extensions: []string{"usbguard", "wasm"}},
	"architecture": {extensions: []string{"sysstat"}},
	"dependency":   {extensions: []string{"sandboxed-containers"}, kernelType: "realtime"},
	"unknown":      {extensions: []string{"usbgard"}},
	"elsewhere":    {extensions: []string{"usbguard"}},
	lateConfig:     {extensions: []string{"usbguard"}},
	given:          {extensions: []string{"usbguard"}, dockerfile: "FROM configs AS final\nRUN cat /etc/yum.repos.d/* > /etc/seen\n"},
}

// Pools that are opted in late: the steps of one are given repositories, and the
// config of the other is laid on what is installed.
const (
	given      = "given"
	lateConfig = "late"
)

// TestExtensions installs packages from an extensions image on a base with dnf.
func TestExtensions(t *testing.T) {
	needs(t, "rpmbuild", "createrepo_c", "mmdebstrap")
	s := newScenario(t)
	kernel := rpmsOf("kernel", "kernel-core", "kernel-modules", "kernel-modules-core", "kernel-modules-extra")
	base, extensions := cluster.Registry+"/e2e/rpm:base", cluster.Registry+"/e2e/rpm:extensions"
	s.must(cluster.PushImage(base, rpmBase(t, kernel...)))
	s.must(cluster.PushImage(extensions, extensionsOf(t, append(
		rpmsOf("libkadm5", "kernel-rt-core", "kernel-rt-modules", "kernel-rt-modules-core", "kernel-rt-modules-extra"),
		rpm{name: "usbguard", also: "etc/pool"}, rpm{name: "krb5-workstation", requires: "krb5-libs"}, rpm{name: "krb5-libs"},
		rpm{name: "kata-containers", requires: "kata-runtime >= 3"},
		rpm{name: "sysstat", architecture: otherArchitecture(t)})...)))
	s.addInstalls(base, extensions)

	below, err := cluster.OpenImage(base)
	s.must(err)
	s.prove("an extension is installed, with what it needs, and nothing else is in a layer", func(s *scenario) {
		image := s.builtFor("extension")
		files, err := image.FilesAbove(below)
		s.must(err)
		want := map[string]live.File{"etc/pool": file(0o644, 0, "extension")}
		for _, p := range rpmsOf("krb5-workstation", "libkadm5", "krb5-libs") {
			want[p.file()] = file(0o644, 0, p.name+"\n")
		}
		compareFiles(s.t, files, want)
		for path := range files {
			if strings.HasSuffix(path, ".rpm") || strings.Contains(path, "repodata") || strings.HasSuffix(path, ".repo") || strings.HasSuffix(path, ".log") ||
				strings.HasPrefix(path, "run/os-extensions") || strings.HasPrefix(path, "etc/yum.repos.d") || strings.HasPrefix(path, "var/cache/dnf/") {
				s.t.Errorf("/%s is in a layer", path)
			}
		}
		labels, err := image.Labels()
		s.must(err)
		if got := labels[api.ImageLabelExtensionsImage]; got != extensions {
			s.t.Errorf("the image names %q as its extensions image", got)
		}
	})
	s.prove("a kernel takes the other's place in one transaction, and steps see it", func(s *scenario) {
		s.checkKernel(s.builtFor("kernel"), below, kernel)
	})
	s.prove("no package takes the place of a file of the config", func(s *scenario) {
		files, err := s.builtFor("kernel").FilesAbove(below)
		s.must(err)
		compareFiles(s.t, files, map[string]live.File{"etc/pool": file(0o644, 0, "kernel")})
	})
	for pool, want := range map[string][]string{
		"unavailable":  {api.ReasonExtensionsFailed, "installing extensions usbguard, wasm", "/e2e/rpm@sha256:", "no package crun-wasm"},
		"architecture": {api.ReasonExtensionsFailed, "installing extension sysstat", "there is only sysstat-1-1." + otherArchitecture(t) + ".rpm"},
		"dependency":   {api.ReasonExtensionsFailed, "installing kernel realtime and extension sandboxed-containers", "nothing provides kata-runtime >= 3, which kata-containers-1-1"},
		"unknown":      {api.ReasonInvalidRenderedConfig, configOf("unknown"), "spec.extensions", `"usbgard"`, "usbguard"},
		"failing":      {api.ReasonBuildFailed, "step 2, line 3 of the custom Dockerfile", "exit code 42", "usbguard-1-1"},
		"elsewhere":    {api.ReasonPullFailed, "extensions image", "/e2e/rpm:none"},
	} {
		s.prove(pool, func(s *scenario) { s.failedAs(pool, want[0], want[1:]...) })
	}
	s.prove("repositories that steps are given are not asked, and still there", func(s *scenario) {
		const unreachable = "[internal]\nname=internal\nbaseurl=https://" + noRegistry + "/\n"
		s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapYumRepos, map[string]string{"internal.repo": unreachable}))
		s.must(cluster.OptIn(s.ctx, given))
		files, err := s.builtFor(given).FilesAbove(below)
		s.must(err)
		compareFiles(s.t, files, map[string]live.File{"etc/seen": file(0o644, 0, unreachable)})
	})
	s.prove("the config can be laid on the packages, and wins too", func(s *scenario) {
		for pool := range installs {
			s.must(cluster.OptOut(s.ctx, pool))
		}
		s.configure(map[string]string{api.KeyConfigLayerOrder: api.ConfigLayerLast})
		s.must(cluster.OptIn(s.ctx, lateConfig))
		files, err := s.builtFor(lateConfig).FilesAbove(below)
		s.must(err)
		usbguard := rpm{name: "usbguard"}
		compareFiles(s.t, files, map[string]live.File{usbguard.file(): file(0o644, 0, "usbguard\n"), "etc/pool": file(0o644, 0, lateConfig)})
		if s.record(configOf(lateConfig)).StepsImage == "" {
			s.t.Error("what was installed is not kept")
		}
	})
}

// addInstalls makes the pools of installs and opts all in but one. The extensions
// image is the cluster's, but for the pool whose config names one that does not exist.
func (s *scenario) addInstalls(base, extensions string) {
	s.t.Helper()
	s.base = base
	s.must(cluster.SetConfigMap(s.ctx, api.ConfigMapOSImageURL, map[string]string{
		api.KeyBaseOSContainerImage: base, api.KeyBaseOSExtensionsContainerImage: extensions, api.KeyReleaseVersion: release,
	}))
	s.configure(map[string]string{api.KeyMaxConcurrentBuilds: "3"})
	dockerfiles := map[string]string{}
	for pool, install := range installs {
		dockerfiles[pool] = install.dockerfile
	}
	s.dockerfiles(dockerfiles)
	for pool, install := range installs {
		mc := live.FileConfig(configOf(pool), "/etc/pool", pool)
		mc.Spec.Extensions, mc.Spec.KernelType = install.extensions, install.kernelType
		if pool == "elsewhere" {
			mc.Spec.BaseOSExtensionsContainerImage = strings.Replace(extensions, ":extensions", ":none", 1)
		}
		s.must(cluster.SetMachineConfig(s.ctx, mc))
		s.must(cluster.AddPool(s.ctx, pool, mc.Name))
		if pool != given && pool != lateConfig {
			s.must(cluster.OptIn(s.ctx, pool))
		}
	}
}

// checkKernel reads which packages the image has by files and by rpm's own word.
func (s *scenario) checkKernel(image, below live.Image, gone []rpm) {
	s.t.Helper()
	paths := pathsOf(s.t, image)
	for _, p := range gone {
		if paths[p.file()] {
			s.t.Errorf("/%s of package %s is there", p.file(), p.name)
		}
	}
	files, err := image.FilesAbove(below)
	s.must(err)
	transactions := map[string]bool{}
	have := map[string]bool{}
	for line := range strings.Lines(files["etc/packages"].Content) {
		name, transaction, _ := strings.Cut(strings.TrimSpace(line), " ")
		transactions[transaction], have[name] = true, true
	}
	for _, p := range rpmsOf("usbguard", "kernel-rt-core", "kernel-rt-modules", "kernel-rt-modules-core", "kernel-rt-modules-extra") {
		if !paths[p.file()] || !have[p.name] {
			s.t.Errorf("package %s is not there", p.name)
		}
	}
	if len(have) != 5 || len(transactions) != 1 {
		s.t.Errorf("rpm knows %s, from %d transactions", fmt.Sprint(have), len(transactions))
	}
}

// TestExtensionsNeedAnImage: without one the pool says which key to set.
func TestExtensionsNeedAnImage(t *testing.T) {
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-extensions", "/etc/generation", "1")
	config.Spec.Extensions = []string{"usbguard"}
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.failed("extension usbguard", config.Name, "spec.baseOSExtensionsContainerImage", api.ConfigMapOSImageURL, api.KeyBaseOSExtensionsContainerImage)
	if pods := s.builds.Pods(); len(pods) != 0 {
		t.Errorf("%d pods were made", len(pods))
	}
	s.is(mcfgv1.MachineConfigPoolImageBuildDegraded, "usbguard")
}
