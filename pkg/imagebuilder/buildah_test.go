package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// fakeBuildah stands in for the program where a test is about how it is called;
// what it does is tested with the real one, in a real pod. The script gets the
// command's name and its arguments; calls are noted in a file.
func fakeBuildah(t *testing.T, script string) (calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	text := `#!/bin/sh
echo "$*" >> ` + log + `
env > ` + dir + `/env
while [ "${1#--}" != "$1" ]; do shift 2; done
` + script
	if err := os.WriteFile(filepath.Join(dir, "buildah"), []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		content, err := os.ReadFile(log)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(content)), "\n")
	}
}

// volumes are the directories that the containers of a build share.
type volumes struct {
	work              WorkDir
	storage, handover string
}

func newVolumes(t *testing.T) volumes {
	return volumes{work: WorkDir(t.TempDir()), storage: t.TempDir(), handover: t.TempDir()}
}

func newProgram(t *testing.T) *buildah {
	t.Helper()
	program, err := newBuildah(t.TempDir(), storageDriver{Name: "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(program.close)
	return program
}

func TestRunReportsExitCodeAndOutput(t *testing.T) {
	fakeBuildah(t, `printf 'one\r\ndrawn\rover\n'; for i in $(seq 30); do echo line $i; done; printf 'no end' >&2; exit 7`)
	var lines []string
	err := newProgram(t).run(context.Background(), func(line string) { lines = append(lines, line) }, "build", "x")
	var exit *exitError
	if !errors.As(err, &exit) || exit.code != 7 || exit.command != "build" {
		t.Fatalf("error = %v", err)
	}
	if len(lines) != 33 || lines[0] != "one" || lines[1] != "over" || lines[32] != "no end" {
		t.Errorf("%d lines: %q", len(lines), lines)
	}
	if len(exit.log) != tailLines || exit.log[tailLines-1] != "no end" {
		t.Errorf("log = %q", exit.log)
	}
}

func TestRunPassesNoEnvironmentOn(t *testing.T) {
	t.Setenv("REGISTRY_AUTH_FILE", "/secret")
	t.Setenv("HTTPS_PROXY", "http://proxy.example.com")
	fakeBuildah(t, `env`)
	var lines []string
	if err := newProgram(t).run(context.Background(), func(line string) { lines = append(lines, line) }, "images"); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(lines, "\n"); strings.Contains(text, "REGISTRY_AUTH_FILE") || !strings.Contains(text, "HTTPS_PROXY=http://proxy.example.com") {
		t.Errorf("environment:\n%s", text)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	fakeBuildah(t, `echo started; sleep 60 & wait`)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	err := newProgram(t).run(ctx, func(string) { cancel() }, "build")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want Canceled", err)
	}
}

func TestLineWithoutEndIsBroken(t *testing.T) {
	var lines []string
	readLines(strings.NewReader(strings.Repeat("x", 3*maxLine)+"\nend\n"), func(line string) { lines = append(lines, line) })
	if len(lines) != 5 || lines[4] != "end" {
		t.Errorf("%d lines, the last is %.10q", len(lines), lines[len(lines)-1])
	}
}

func TestDriverFallsBackWithAReason(t *testing.T) {
	calls := fakeBuildah(t, `exit 0`)
	in := newInputs(t, ignition)
	driver, err := chooseDriver(context.Background(), t.TempDir(), in.progress(1))
	if err != nil || driver.Name != "overlay" || in.log.Len() != 0 {
		t.Errorf("driver %v, %v, log %q", driver, err, in.log.String())
	}
	if len(calls()) != 1 {
		t.Errorf("calls = %v", calls())
	}
	fakeBuildah(t, `grep -q "driver overlay" "$(dirname "$0")/calls" && ! grep -q "driver vfs" "$(dirname "$0")/calls" && echo "kernel says no" && exit 125; exit 0`)
	driver, err = chooseDriver(context.Background(), t.TempDir(), in.progress(1))
	if err != nil || driver.Name != "vfs" || !strings.Contains(in.log.String(), "warning: storage driver overlay does not work here: buildah images: exit status 125: kernel says no") {
		t.Errorf("driver %v, %v, log %q", driver, err, in.log.String())
	}
	fakeBuildah(t, `exit 1`)
	if _, err = chooseDriver(context.Background(), t.TempDir(), in.progress(1)); err == nil {
		t.Error("a driver was found although none works")
	}
}

// prepared runs Prepare with logins, and checks that they do not stay.
func prepared(t *testing.T, in *inputs, custom string) (volumes, error) {
	t.Helper()
	return preparedFor(t, in, dockerfile.Configs{}, custom, "")
}

// preparedFor does that for an architecture, with a stage configs that may have
// more than the base.
func preparedFor(t *testing.T, in *inputs, configs dockerfile.Configs, custom, architecture string) (volumes, error) {
	t.Helper()
	base := in.pushBase(t)
	configs.Base = base
	in.server.Push(t, "tools/one:7", osImage(t, "amd64"))
	text, err := dockerfile.Render(configs, strings.ReplaceAll(custom, "HOST", in.server.Host))
	if err != nil {
		t.Fatal(err)
	}
	login := in.write(t, "login/.dockercfg", fmt.Sprintf(`{%q:{"username":"u","password":"hunter2"}}`, in.server.Host))
	t.Setenv("TMPDIR", t.TempDir())
	access, dirs := in.access(), newVolumes(t)
	access.PullSecretDirs, access.PushSecretDir = []string{filepath.Dir(login)}, filepath.Dir(login)
	_, err = Prepare(context.Background(), PrepareOptions{
		Access: access, WorkDir: dirs.work, StorageDir: dirs.storage, MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
		BaseImage: base, FinalImage: in.server.Host + "/os/final:1", DockerfileDir: filepath.Dir(in.write(t, "dockerfile/0000", text)), DockerfileSHA256: names.Content([]byte(text)),
		Architecture: architecture,
	}, in.progress(PrepareSteps))
	for _, dir := range []string{string(dirs.work), dirs.storage, os.TempDir()} {
		checkNoSecret(t, dir)
	}
	return dirs, err
}

func checkNoSecret(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), "aHVudGVyMg") || strings.Contains(string(content), "hunter2") || strings.Contains(path, "auth") {
			t.Errorf("%s is left behind", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPreparePullsByDigestAndLeavesNoLogin(t *testing.T) {
	calls := fakeBuildah(t, `case "$1" in pull) [ "$(stat -c %a "$3")" = 600 ] && grep -q auths "$3" || exit 9;; esac`)
	in := newInputs(t, ignition)
	digest, err := osImage(t, "amd64").Digest()
	if err != nil {
		t.Fatal(err)
	}
	byDigest := "HOST/tools/one@" + digest.String()
	dirs, err := prepared(t, in, "FROM HOST/tools/one:7 AS tools\nFROM configs AS final\nCOPY --from=tools /etc/base /x\nCOPY --from="+byDigest+" /etc/base /y\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, in.log.String())
	}
	var pulls, tags []string
	for _, call := range calls() {
		fields := strings.Fields(call)
		switch {
		case slices.Contains(fields, "pull"):
			pulls = append(pulls, fields[len(fields)-1])
		case slices.Contains(fields, "tag"):
			tags = append(tags, fields[len(fields)-1])
		}
	}
	if len(pulls) != 3 || pulls[2] != pulls[1] || !strings.HasPrefix(pulls[0], "docker://"+in.server.Host+"/os/base@sha256:") ||
		!strings.HasPrefix(pulls[1], "docker://"+in.server.Host+"/tools/one@sha256:") {
		t.Errorf("pulls = %v", pulls)
	}
	if !slices.Equal(tags, []string{in.server.Host + "/tools/one:7"}) {
		t.Errorf("tags = %v", tags)
	}
	text, err := os.ReadFile(dirs.work.dockerfile())
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockerfile.ParseRendered(string(text))
	if err != nil || "docker://"+file.Configs().Base != pulls[0] {
		t.Errorf("Dockerfile is on %q, %v", file.Configs().Base, err)
	}
	if info, err := os.Stat(filepath.Join(dirs.work.context(), dockerfile.ConfigLayerFile)); err != nil || info.Size() == 0 {
		t.Errorf("config layer: %v", err)
	}
	plan, err := dirs.work.readPlan()
	if err != nil || plan.Driver.Name != "overlay" || !strings.HasPrefix(plan.Platform, "linux/") || plan.BaseDigest == plan.ImageDigest || len(plan.Present) != 2 {
		t.Errorf("plan = %+v, %v", plan, err)
	}
}

func TestPrepareFailures(t *testing.T) {
	tests := []struct {
		name, custom, script, message string
		spoil                         func(*inputs)
	}{
		{name: "image missing", custom: "FROM HOST/tools/none:1 AS tools\nFROM configs AS final\n", message: "tools/none:1: not found"},
		{name: "pull fails", script: `[ "$1" = pull ] && echo "no space left on device" && exit 125`, message: "pulling 127.0.0.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			script := test.script
			if script == "" {
				script = "exit 0"
			}
			fakeBuildah(t, script+"\nexit 0")
			in := newInputs(t, ignition)
			if test.custom == "" {
				test.custom = "FROM configs AS final\nRUN true\n"
			}
			_, err := prepared(t, in, test.custom)
			if reasonOf(err) != api.ReasonPullFailed || !strings.Contains(err.Error(), test.message) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestPrepareRefusesTheDockerfileOfAnotherBuild(t *testing.T) {
	in := newInputs(t, ignition)
	dir := filepath.Dir(in.write(t, "dockerfile/0000", "FROM configs AS final\n"))
	for _, sha256 := range []string{"", names.Content([]byte("FROM configs AS final\nRUN true\n"))} {
		if _, err := readDockerfile(dir, sha256); reasonOf(err) != api.ReasonBuildInterrupted {
			t.Errorf("hash %q: error = %v, want it to be tried again", sha256, err)
		}
	}
}

func TestPrepareGoesOnWithoutACopy(t *testing.T) {
	calls := fakeBuildah(t, "exit 0")
	in := newInputs(t, ignition)
	in.server.Fault(func(r *http.Request) (int, bool) {
		return 403, r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/os/final/")
	})
	dirs, err := prepared(t, in, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	if registrytest.Count(calls(), " pull ", "/os/base@sha256:") != 1 || !strings.Contains(in.log.String(), "will be uploaded at the end") {
		t.Errorf("calls = %v, log:\n%s", calls(), in.log.String())
	}
	if plan, err := dirs.work.readPlan(); err != nil || len(plan.Present) != 0 {
		t.Errorf("plan = %+v, %v", plan, err)
	}
}

func (v volumes) build(in *inputs) (buildspec.Result, error) { return v.buildAs(in, registry.Gzip) }

func (v volumes) buildAs(in *inputs, compression registry.Compression) (buildspec.Result, error) {
	return Build(context.Background(), BuildOptions{
		WorkDir: v.work, StorageDir: v.storage, HandoverDir: v.handover, Compression: compression,
	}, in.progress(BuildSteps))
}

func TestBuildHandsOverWithoutCredentials(t *testing.T) {
	fakeBuildah(t, "exit 0")
	in := newInputs(t, ignition)
	dirs, err := prepared(t, in, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	calls := fakeBuildah(t, `echo "[2/2] STEP 2/2: RUN true"`)
	// This one pushes nothing, whatever it says.
	if _, err := dirs.build(in); !errors.Is(err, handover.ErrRefused) {
		t.Fatal(err)
	}
	build, push := calls()[0], calls()[1]
	for _, want := range []string{"build --pull=never", "--isolation chroot", "--storage-driver overlay"} {
		if !strings.Contains(build, want) {
			t.Errorf("call %q has no %q", build, want)
		}
	}
	if !strings.Contains(push, "push --tls-verify=false --format oci "+builtImage+" docker://127.0.0.1:") {
		t.Errorf("call %q hands nothing over", push)
	}
	for _, word := range []string{"auth", "secret", in.server.Host} {
		if strings.Contains(build+push, word) {
			t.Errorf("calls %q, %q", build, push)
		}
	}
}

func TestProgressLines(t *testing.T) {
	in := newInputs(t, ignition)
	now := time.Unix(0, 0)
	progress := NewProgress(&in.log, 2, func() time.Time { now = now.Add(250 * time.Millisecond); return now })
	progress.Step("a", "doing %s", "a")
	progress.Note("a note")
	progress.Done("%s", size(52<<10))
	progress.Step("b", "doing b")
	progress.Done("%s, %s", plural(1, "layer"), plural(2, "layer"))
	want := "[1/2] doing a\n      a note\n      52.0 KiB (0.2 s)\n[2/2] doing b\n      1 layer, 2 layers (0.2 s)\n"
	if in.log.String() != want {
		t.Errorf("log:\n%s", in.log.String())
	}
	if timings := fmt.Sprint(progress.Timings()); timings != "[{a 0.25} {b 0.25} {total 1.25}]" {
		t.Errorf("timings = %s", timings)
	}
}
