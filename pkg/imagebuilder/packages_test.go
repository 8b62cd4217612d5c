package imagebuilder

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

const extensionsImage = "quay.io/ext@sha256:1111111111111111111111111111111111111111111111111111111111111111"

// renderedWithPackages is a build that installs packages, under a custom Dockerfile.
func renderedWithPackages(t *testing.T, text string) *dockerfile.File {
	t.Helper()
	whole, err := dockerfile.Render(dockerfile.Configs{
		Base: "quay.io/base:1", Extensions: extensionsImage, Packages: ospackages.New([]string{"kerberos", "usbguard"}, ospackages.KernelRealtime),
	}, text)
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockerfile.ParseRendered(whole)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestFailedInstallation: the outputs are dnf's and rpm-ostree's own.
func TestFailedInstallation(t *testing.T) {
	const (
		ours = "[1/2] STEP 3/4: RUN --mount=type=bind,from=" + extensionsImage + ",target=/run/os-extensions --mount=type=tmpfs,target=/etc/yum.repos.d <<'END-OF-PACKAGES' (install='a'...)\n"
		end  = "subprocess exited with status 1\n" + `Error: building at STEP "RUN --mount=type=bind": exit status 1` + "\n"
		what = "installing kernel realtime and extensions kerberos, usbguard from the extensions image " + extensionsImage + " failed"
	)
	for _, test := range []struct {
		name, output, reason, message string
		line                          int
	}{
		{
			"an unknown package", ours + "No match for argument: usbguard\nError: Unable to find a match: usbguard\npackages: no package usbguard\n" + end,
			api.ReasonExtensionsFailed, what + ": no package usbguard", 0,
		},
		{
			"another architecture", ours + "Error: \n Problem: conflicting requests\n  - package usbguard-1.2-1.aarch64 from os-extensions does not have a compatible architecture\n" +
				"packages: this is x86_64, and there is only usbguard-1.2-1.aarch64.rpm\n" + end,
			api.ReasonExtensionsFailed, what + ": this is x86_64, and there is only usbguard-1.2-1.aarch64.rpm", 0,
		},
		{
			"a dependency that dnf misses", ours + "Error: \n Problem: conflicting requests\n  - nothing provides libusb >= 3 needed by usbguard-1.2-1.x86_64 from os-extensions\n" + end,
			api.ReasonExtensionsFailed, what + ": nothing provides libusb >= 3, which usbguard-1.2-1.x86_64 needs", 0,
		},
		{
			"the same for rpm-ostree, in two places", ours + "error: Could not depsolve transaction; 1 problem detected:\n Problem: package krb5-1-1.x86_64 requires libk(x), but none of the providers can be installed\n" +
				"  - nothing provides libk2 needed by libk-1-1.x86_64\n  - nothing provides libk2 needed by libk-1-1.x86_64\n" + end,
			api.ReasonExtensionsFailed, what + ": nothing that can be installed provides libk(x), which krb5-1-1.x86_64 needs; nothing provides libk2, which libk-1-1.x86_64 needs", 0,
		},
		{
			"packages that exclude each other", ours + " Problem: package a-1-1.x86_64 from os-extensions conflicts with b provided by b-1-1.x86_64 from @System\n" +
				"  file /usr/bin/x from install of a-1-1.x86_64 conflicts with file from package c-1-1.x86_64\n" + end,
			api.ReasonExtensionsFailed, what + ": a-1-1.x86_64 conflicts with b-1-1.x86_64; a-1-1.x86_64 and c-1-1.x86_64 both have /usr/bin/x", 0,
		},
		{"something else", ours + "dnf: no space left on device\n" + end, api.ReasonBuildFailed, what + " with exit code 1", 0},
		{
			"no command", ours + `Error: building at STEP "RUN --mount=type=bind": mounting: no such image` + "\n",
			api.ReasonBuildFailed, what + `: building at STEP "RUN --mount=type=bind": mounting: no such image`, 0,
		},
		{
			"a step of the user's that says the same", ours + "Complete!\n[2/2] STEP 3/4: RUN echo before;   nosuchcommand --x\npackages: no package usbguard\n" + end,
			api.ReasonBuildFailed, "step 3, line 4 of the custom Dockerfile, failed with exit code 1: RUN echo before;   nosuchcommand --x", 4,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := buildah.NewLog()
			for line := range strings.Lines(test.output) {
				log.Add(strings.TrimSuffix(line, "\n"))
			}
			got := Report(buildspec.Result{}, buildFailure(&buildah.ExitError{Command: "build", Code: 125}, log, renderedWithPackages(t, custom), "linux/amd64"))
			if got.Reason != test.reason || got.Message != test.message || got.Line != test.line {
				t.Errorf("reason %s, line %d:\n%s\nwant %s, line %d:\n%s", got.Reason, got.Line, got.Message, test.reason, test.line, test.message)
			}
		})
	}
}

func TestMissingPackagesAreBounded(t *testing.T) {
	var lines []string
	for i := range 100 {
		lines = append(lines, "packages: no package "+strings.Repeat("x", i+1))
	}
	if got := missingPackages(lines); len(got) != maxMissing {
		t.Errorf("%d are named", len(got))
	}
}

// TestPreparePullsTheExtensionsImage: by digest, and as what the steps mount.
func TestPreparePullsTheExtensionsImage(t *testing.T) {
	calls := buildahtest.Fake(t, "exit 0")
	in := newInputs(t, ignition)
	extensions := in.server.Push(t, "os/extensions:1", registrytest.Index(t, osImage(t, "amd64"), osImage(t, "arm64")))
	dirs, err := preparedFor(t, in, dockerfile.Configs{Extensions: extensions, Packages: ospackages.New([]string{"usbguard"}, "")}, "", "")
	if err != nil {
		t.Fatalf("%v\n%s", err, in.log.String())
	}
	if registrytest.Count(calls(), " pull ", "/os/extensions@sha256:") != 1 {
		t.Errorf("calls = %v", calls())
	}
	text, err := os.ReadFile(dirs.work.dockerfile())
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockerfile.ParseRendered(string(text))
	if err != nil || !strings.HasPrefix(file.Configs().Extensions, in.server.Host+"/os/extensions@sha256:") || file.Configs().Packages.String() != "extension usbguard" {
		t.Errorf("Dockerfile installs %s from %q, %v", file.Configs().Packages, file.Configs().Extensions, err)
	}
	if !strings.Contains(in.log.String(), "pulling 2 images") || !strings.Contains(in.log.String(), "pulled "+extensions+": sha256:") {
		t.Errorf("log:\n%s", in.log.String())
	}
}

func TestPrepareRefusesExtensions(t *testing.T) {
	for _, test := range []struct {
		name, image, kernelType, reason string
		says                            []string
	}{
		{"a missing image", "HOST/os/none:1", "", api.ReasonPullFailed, []string{"extensions image", "os/none:1"}},
		{"an image of another platform", "HOST/os/other:1", "", api.ReasonPullFailed, []string{"os/other:1", "linux/s390x"}},
		{"a kernel of another architecture", "HOST/os/other:1", "64k-pages", api.ReasonInvalidRenderedConfig, []string{"rendered-worker-1", "spec.kernelType", "64k-pages"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			buildahtest.Fake(t, "exit 0")
			in := newInputs(t, ignition)
			in.server.Push(t, "os/other:1", osImage(t, "s390x"))
			if test.kernelType != "" && ospackages.New(nil, test.kernelType).CheckArchitecture(runtime.GOARCH) == nil {
				t.Skipf("%s is made for %s", test.kernelType, runtime.GOARCH)
			}
			_, err := preparedFor(t, in, dockerfile.Configs{
				Extensions: strings.ReplaceAll(test.image, "HOST", in.server.Host), Packages: ospackages.New([]string{"usbguard"}, test.kernelType),
			}, "FROM configs AS final\nRUN true\n", "")
			if reasonOf(err) != test.reason {
				t.Fatalf("error = %v", err)
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %s", err, want)
				}
			}
		})
	}
}

// TestRepositoriesCanBePutAway: they can be written where packages are installed, and
// nowhere else.
func TestRepositoriesCanBePutAway(t *testing.T) {
	from := t.TempDir()
	for _, dir := range []string{"entitlement", "yum-repos"} {
		if err := errors.Join(os.Mkdir(filepath.Join(from, dir), 0o700), os.WriteFile(filepath.Join(from, dir, "theirs.repo"), []byte("theirs"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for want, file := range map[string]*dockerfile.File{"ro": rendered(t, custom), "rw": renderedWithPackages(t, custom)} {
		program := newProgram(t)
		flags, err := stepVolumes(program, from, file)
		if err != nil || len(flags) != 4 || !strings.HasSuffix(flags[1], ":/etc/pki/entitlement:ro") || !strings.HasSuffix(flags[3], ":/etc/yum.repos.d:"+want) {
			t.Errorf("flags = %q, want %s, %v", flags, want, err)
		}
	}
}

// script is the step that installs packages as a program of this machine: its two
// places are in dir.
func script(t *testing.T, dir string, wanted ospackages.Wanted) string {
	t.Helper()
	text, err := dockerfile.Render(dockerfile.Configs{Base: "quay.io/base:1", Extensions: extensionsImage, Packages: wanted}, "")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = strings.Cut(text, "<<'END-OF-PACKAGES'\n")
	text, _, _ = strings.Cut(text, "END-OF-PACKAGES\n")
	return strings.NewReplacer("/run/os-extensions", dir+"/content", "/etc/yum.repos.d", dir+"/repos").Replace(text)
}

// TestInstallScript plays the base image's programs: rpm knows what is in the file
// "installed", the others note how they are called and install what they are asked for.
func TestInstallScript(t *testing.T) {
	const notes = `echo "$(basename "$0") $*" >> "$DIR/calls"; ls "$DIR"/repos/*.repo > "$DIR/seen"; `
	const dnf = notes + `[ -z "$FAILS" ] || exit "$FAILS"
last=; for word in "$@"; do last=$word; done
[ "${last##*/}" != transaction ] || { cp "$last" "$DIR/transaction"; set -- $(cat "$last"); }
for word in "$@"; do case $word in
-*=remove|remove) does=remove;; -*=install|install) does=install;; -*|do) ;;
*) if [ "$does" = install ]; then echo "$word" >> "$DIR/installed"; else sed -i "/^$word\$/d" "$DIR/installed"; fi;;
esac; done`
	const rpmOSTree = notes + `[ -z "$FAILS" ] || exit "$FAILS"
[ "$1" != install ] || { shift; printf '%s\n' "$@" >> "$DIR/installed"; }
[ "$1" != override ] || for word in "$@"; do case $word in --install=*) echo "${word#--install=}" >> "$DIR/installed";; *) sed -i "/^$word\$/d" "$DIR/installed";; esac; done`
	const keeps = notes + `printf '%s\n' kernel-rt-core kernel-rt-modules kernel-rt-modules-extra usbguard >> "$DIR/installed"`
	options := "-y --setopt=plugins=0 --setopt=cachedir=DIR/repos/.os-extensions/cache --setopt=logdir=DIR/repos/.os-extensions/log --setopt=persistdir=DIR/repos/.os-extensions/state --setopt=protect_running_kernel=0 --setopt=clean_requirements_on_remove=0 --setopt=reposdir=DIR/repos --repo=os-extensions"
	kerberos, realtime := ospackages.New([]string{"kerberos"}, ""), ospackages.New([]string{"usbguard"}, ospackages.KernelRealtime)
	for _, test := range []struct {
		name      string
		wanted    ospackages.Wanted
		programs  map[string]string
		installed string
		files     []string // of the extensions image
		fails     string
		calls     []string
		output    []string
		code      int
	}{
		{
			name: "dnf", wanted: kerberos, programs: map[string]string{"dnf": dnf},
			calls: []string{"dnf " + options + " install krb5-workstation libkadm5"},
		},
		{
			name: "what is there stays", wanted: kerberos, programs: map[string]string{"dnf": dnf}, installed: "libkadm5",
			calls: []string{"dnf " + options + " install krb5-workstation"},
		},
		{
			name: "all is there", wanted: kerberos, programs: map[string]string{"dnf": dnf}, installed: "libkadm5 krb5-workstation",
			output: []string{"all packages are in the base image"},
		},
		{
			name: "a kernel by dnf", wanted: realtime, programs: map[string]string{"dnf": dnf}, installed: "kernel kernel-core", files: []string{"x86_64/kernel-rt-modules-core-5-1.x86_64.rpm"},
			calls: []string{"dnf " + options + " shell DIR/repos/.os-extensions/transaction"},
		},
		{
			name: "a kernel by dnf5", wanted: realtime, programs: map[string]string{"dnf": dnf, "dnf5": dnf}, installed: "kernel-core",
			calls: []string{"dnf5 " + options + " do --action=remove kernel-core --action=install kernel-rt-core kernel-rt-modules kernel-rt-modules-extra usbguard"},
		},
		{
			name: "rpm-ostree before dnf", wanted: kerberos, programs: map[string]string{"dnf": dnf, "rpm-ostree": rpmOSTree},
			calls: []string{"rpm-ostree install krb5-workstation libkadm5", "rpm-ostree cleanup --repomd"},
		},
		{
			name: "a kernel by rpm-ostree", wanted: realtime, programs: map[string]string{"rpm-ostree": rpmOSTree}, installed: "kernel-core kernel-modules",
			calls: []string{
				"rpm-ostree cliwrap install-to-root /",
				"rpm-ostree override remove kernel-core kernel-modules --install=kernel-rt-core --install=kernel-rt-modules --install=kernel-rt-modules-extra --install=usbguard",
				"rpm-ostree cleanup --repomd",
			},
		},
		{
			name: "a package that is not there", wanted: kerberos, programs: map[string]string{"dnf": dnf}, fails: "3", files: []string{"libkadm5-1-1.noarch.rpm"},
			calls: []string{"dnf " + options + " install krb5-workstation libkadm5"}, output: []string{"packages: no package krb5-workstation"}, code: 3,
		},
		{
			name: "a package of another architecture", wanted: ospackages.New([]string{"sysstat"}, ""), programs: map[string]string{"rpm-ostree": rpmOSTree}, fails: "1",
			files: []string{"other/sysstat-1-1.other.rpm", "other/sysstat-devel-1-1.noarch.rpm"},
			calls: []string{"rpm-ostree install sysstat"}, output: []string{"packages: this is MACHINE, and there is only sysstat-1-1.other.rpm"}, code: 1,
		},
		{
			name: "a program that says it went well", wanted: kerberos, programs: map[string]string{"dnf": notes}, files: []string{"krb5-workstation-1-1.noarch.rpm"},
			calls:  []string{"dnf " + options + " install krb5-workstation libkadm5"},
			output: []string{"packages: krb5-workstation is there and was not installed", "packages: no package libkadm5"}, code: 1,
		},
		{
			name: "a kernel that stays", wanted: realtime, programs: map[string]string{"dnf5": keeps}, installed: "kernel-core kernel-modules",
			calls:  []string{"dnf5 " + options + " do --action=remove kernel-core kernel-modules --action=install kernel-rt-core kernel-rt-modules kernel-rt-modules-extra usbguard"},
			output: []string{"packages: kernel-core was not removed", "packages: kernel-modules was not removed"}, code: 1,
		},
		{
			name: "a kernel that comes with an extension", wanted: realtime, programs: map[string]string{"dnf": keeps + "; echo kernel-core >> \"$DIR/installed\""},
			calls:  []string{"dnf " + options + " install kernel-rt-core kernel-rt-modules kernel-rt-modules-extra usbguard"},
			output: []string{"packages: kernel-core was not removed"}, code: 1,
		},
		{name: "no program", wanted: kerberos, output: []string{"packages: the base image has neither rpm-ostree nor dnf"}, code: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			write := func(name, text string, mode os.FileMode) {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), mode); err != nil {
					t.Fatal(err)
				}
			}
			const repository = "content/usr/share/rpm-ostree/extensions/"
			write(repository+"repodata/repomd.xml", "", 0o644)
			write("repos/theirs.repo", "theirs", 0o644)
			write("seen", dir+"/repos/os-extensions.repo\n", 0o644)
			for _, file := range test.files {
				write(repository+file, "", 0o644)
			}
			write("installed", strings.ReplaceAll(test.installed, " ", "\n")+"\n", 0o644)
			write("calls", "", 0o644)
			programs := map[string]string{"rpm": `last=; for word in "$@"; do last=$word; done; grep -qx -e "$last" "$DIR/installed"`}
			for name, text := range test.programs {
				programs[name] = text
			}
			for name, text := range programs {
				write("bin/"+name, "#!/bin/sh\n"+text+"\n", 0o755)
			}
			for _, tool := range []string{"basename", "cat", "cp", "grep", "ls", "mkdir", "mv", "rm", "sed", "uname"} {
				path, err := exec.LookPath(tool)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(path, filepath.Join(dir, "bin", tool)); err != nil {
					t.Fatal(err)
				}
			}
			command := exec.Command("/bin/sh", "-c", script(t, dir, test.wanted))
			command.Env = []string{"PATH=" + dir + "/bin", "DIR=" + dir, "FAILS=" + test.fails}
			output, _ := command.CombinedOutput()
			if code := command.ProcessState.ExitCode(); code != test.code {
				t.Errorf("exit code %d, want %d:\n%s", code, test.code, output)
			}
			name, err := exec.Command("uname", "-m").Output()
			if err != nil {
				t.Fatal(err)
			}
			var printed []string
			for line := range strings.Lines(string(output)) {
				printed = append(printed, strings.ReplaceAll(strings.TrimSpace(line), strings.TrimSpace(string(name)), "MACHINE"))
			}
			if !slices.Equal(printed, test.output) {
				t.Errorf("printed %q, want %q", printed, test.output)
			}
			calls, err := os.ReadFile(filepath.Join(dir, "calls"))
			if err != nil {
				t.Fatal(err)
			}
			var called []string
			for line := range strings.Lines(string(calls)) {
				called = append(called, strings.ReplaceAll(strings.TrimSpace(line), dir, "DIR"))
			}
			if !slices.Equal(called, test.calls) {
				t.Errorf("calls:\n%s\nwant:\n%s", strings.Join(called, "\n"), strings.Join(test.calls, "\n"))
			}
			if transaction, err := os.ReadFile(filepath.Join(dir, "transaction")); err == nil &&
				string(transaction) != "remove kernel kernel-core\ninstall kernel-rt-core kernel-rt-modules kernel-rt-modules-extra usbguard kernel-rt-modules-core\n" {
				t.Errorf("transaction:\n%s", transaction)
			}
			if seen, err := os.ReadFile(filepath.Join(dir, "seen")); err != nil || string(seen) != dir+"/repos/os-extensions.repo\n" {
				t.Errorf("repositories seen: %s, %v", seen, err)
			}
			if left, err := filepath.Glob(filepath.Join(dir, "repos", "[.a-z]*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != "theirs.repo" {
				t.Errorf("left among the repositories: %v, %v", left, err)
			}
		})
	}
}
