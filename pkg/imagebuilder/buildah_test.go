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

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// volumes are the directories that the containers of a build share.
type volumes struct {
	work              WorkDir
	storage, handover string
}

func newVolumes(t *testing.T) volumes {
	return volumes{work: WorkDir(t.TempDir()), storage: t.TempDir(), handover: t.TempDir()}
}

func newProgram(t *testing.T) *buildah.Program {
	t.Helper()
	program, err := buildah.New(t.TempDir(), buildah.Driver{Name: "overlay"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(program.Close)
	return program
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
	return preparedWith(t, in, configs, custom, func(o *PrepareOptions) { o.Architecture = architecture })
}

// preparedWith does that with other options.
func preparedWith(t *testing.T, in *inputs, configs dockerfile.Configs, custom string, change func(*PrepareOptions)) (volumes, error) {
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
	options := PrepareOptions{
		Access: access, WorkDir: dirs.work, StorageDir: dirs.storage, MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
		BaseImage: base, FinalImage: in.server.Host + "/os/final:1", DockerfileDir: filepath.Dir(in.write(t, "dockerfile/0000", text)), DockerfileSHA256: names.Content([]byte(text)),
	}
	change(&options)
	_, err = Prepare(context.Background(), options, in.progress(PrepareSteps))
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
	calls := buildahtest.Fake(t, `case "$1" in pull) [ "$(stat -c %a "$3")" = 600 ] && grep -q auths "$3" || exit 9;; esac`)
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
			buildahtest.Fake(t, script+"\nexit 0")
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
	calls := buildahtest.Fake(t, "exit 0")
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
	buildahtest.Fake(t, "exit 0")
	in := newInputs(t, ignition)
	dirs, err := prepared(t, in, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	calls := buildahtest.Fake(t, `echo "[2/2] STEP 2/2: RUN true"`)
	// This one pushes nothing, whatever it says.
	if _, err := dirs.build(in); !errors.Is(err, handover.ErrRefused) {
		t.Fatal(err)
	}
	build, push := calls()[0], calls()[1]
	for _, want := range []string{"build --pull=never", "--isolation chroot", "--storage-driver overlay", "--ulimit " + buildah.ProcessLimit()} {
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
