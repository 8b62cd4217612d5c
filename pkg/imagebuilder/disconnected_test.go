package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
)

// elsewhere is a registry that nobody reaches; mirrors of the test's own registry
// stand in for it, for tags only.
const elsewhere = "source.invalid"

func (in *inputs) mirrors(t *testing.T, pull string) (file, sha256 string) {
	t.Helper()
	text := fmt.Sprintf("[[registry]]\nlocation = %q\nblocked = true\n[[registry.mirror]]\nlocation = %q\npull-from-mirror = %q\n", elsewhere, in.server.Host, pull)
	return in.write(t, "registries/registries.conf", text), names.Content([]byte(text))
}

func TestAppendFromAMirror(t *testing.T) {
	in := newInputs(t, ignition)
	in.pushBase(t)
	options := AppendOptions{
		Access: in.access(), MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
		BaseImage: elsewhere + "/os/base:1", FinalImage: in.server.Host + "/os/final:1",
	}
	options.RegistriesConf, options.RegistriesConfSHA256 = in.mirrors(t, "tag-only")
	result, err := Append(context.Background(), options, in.progress(AppendSteps))
	if err != nil || result.Digest == "" {
		t.Fatalf("%+v, %v\n%s", result, err, in.log.String())
	}
	if !strings.Contains(in.log.String(), elsewhere+"/os/base:1 is read from its mirror "+in.server.Host+"/os/base") {
		t.Errorf("the log does not tell of the mirror:\n%s", in.log.String())
	}
	options.RegistriesConf, options.RegistriesConfSHA256 = in.mirrors(t, "digest-only")
	if _, err := Append(context.Background(), options, in.progress(AppendSteps)); reasonOf(err) != api.ReasonPullFailed || !strings.Contains(err.Error(), elsewhere) {
		t.Errorf("without a mirror for tags: %v", err)
	}
	options.RegistriesConfSHA256 = in.sha256
	if _, err := Append(context.Background(), options, in.progress(AppendSteps)); reasonOf(err) != api.ReasonBuildInterrupted {
		t.Errorf("mirrors of another build: %v", err)
	}
}

// TestPreparePullsFromTheMirror: buildah gets digests, and finds them where the
// rules for tags led.
func TestPreparePullsFromTheMirror(t *testing.T) {
	calls := buildahtest.Fake(t, `exit 0`)
	confs := filepath.Join(t.TempDir(), "confs")
	fake := filepath.Join(filepath.SplitList(os.Getenv("PATH"))[0], "buildah")
	script, err := os.ReadFile(fake)
	if err != nil {
		t.Fatal(err)
	}
	// The file that the option names is gone when the pull has ended.
	noted := strings.Replace(string(script), "while [", "case \"$*\" in *' pull '*) for a in \"$@\"; do case \"$a\" in *registries.conf) cat \"$a\" >> "+confs+";; esac; done;; esac\nwhile [", 1)
	if err := os.WriteFile(fake, []byte(noted), 0o755); err != nil {
		t.Fatal(err)
	}
	in := newInputs(t, ignition)
	in.pushBase(t)
	text, err := dockerfile.Render(dockerfile.Configs{Base: elsewhere + "/os/base:1"}, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	options := PrepareOptions{
		Access: in.access(), WorkDir: WorkDir(t.TempDir()), StorageDir: t.TempDir(), MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
		BaseImage: elsewhere + "/os/base:1", FinalImage: in.server.Host + "/os/final:1",
		DockerfileDir: filepath.Dir(in.write(t, "dockerfile/0000", text)), DockerfileSHA256: names.Content([]byte(text)),
	}
	options.RegistriesConf, options.RegistriesConfSHA256 = in.mirrors(t, "tag-only")
	if _, err := Prepare(context.Background(), options, in.progress(PrepareSteps)); err != nil {
		t.Fatalf("%v\n%s", err, in.log.String())
	}
	if !slices.ContainsFunc(calls(), func(call string) bool {
		return strings.Contains(call, "--registries-conf ") && strings.Contains(call, " pull ") && strings.Contains(call, "docker://"+elsewhere+"/os/base@sha256:")
	}) {
		t.Errorf("calls = %q", calls())
	}
	conf, err := os.ReadFile(confs)
	if want := fmt.Sprintf("[[registry]]\nprefix = %q\nlocation = %q\n", elsewhere+"/os/base", in.server.Host+"/os/base"); err != nil || string(conf) != want {
		t.Errorf("registries.conf:\n%s%v, want\n%s", conf, err, want)
	}
	plan, err := options.WorkDir.readPlan()
	if err != nil || plan.BaseImage != elsewhere+"/os/base:1" {
		t.Errorf("the plan names %q, %v", plan.BaseImage, err)
	}
}

// TestStepsGetTheProxyAndTheirFiles, and neither the log nor what is left behind
// shows the login.
func TestStepsGetTheProxyAndTheirFiles(t *testing.T) {
	buildahtest.Fake(t, "exit 0")
	in := newInputs(t, ignition)
	dirs, err := prepared(t, in, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	in.write(t, "proxy/httpsProxy", "http://user:hunter2@proxy.example.com:3128\n")
	in.write(t, "proxy/noProxy", ".svc\n")
	in.write(t, "entitlement/..data/key.pem", "hidden")
	in.write(t, "entitlement/key.pem", "key")
	in.write(t, "yum-repos/..data/x", "hidden")
	calls := buildahtest.Fake(t, `[ "$1" = build ] || exit 0
echo "[2/2] STEP 2/2: RUN true"; echo "via $https_proxy $HTTPS_PROXY, $no_proxy"
[ "$2" = --volume ] && ls -a "${3%%:*}"; exit 0`)
	t.Setenv("HTTPS_PROXY", "http://other.example.com")
	_, err = Build(context.Background(), BuildOptions{
		WorkDir: dirs.work, StorageDir: dirs.storage, HandoverDir: dirs.handover, ProxyDir: filepath.Join(in.dir, "proxy"),
		StepFilesDir: in.dir,
	}, in.progress(BuildSteps))
	// This one pushes nothing, whatever it says.
	if !errors.Is(err, handover.ErrRefused) {
		t.Fatal(err)
	}
	if !strings.Contains(calls()[0], ":/etc/pki/entitlement:ro ") || strings.Contains(calls()[0], "yum.repos.d") || strings.Contains(calls()[0], "rpm-gpg") {
		t.Errorf("call %q", calls()[0])
	}
	log := in.log.String()
	if !strings.Contains(log, "key.pem") || strings.Contains(log, "..data") {
		t.Errorf("the steps see other files:\n%s", log)
	}
	if !strings.Contains(log, "proxy.example.com:3128, .svc") || strings.Contains(log, "other.example.com") || strings.Contains(log, "hunter2") {
		t.Errorf("the proxy:\n%s", log)
	}
	for _, dir := range []string{string(dirs.work), dirs.storage, dirs.handover, os.TempDir()} {
		checkNoSecret(t, dir)
	}
}

func TestProxySettingsThatAreWrong(t *testing.T) {
	in := newInputs(t, ignition)
	in.write(t, "proxy/httpProxy", "user:hunter2@proxy")
	_, err := registryaccess.ReadProxy(filepath.Join(in.dir, "proxy"))
	if reasonOf(err) != api.ReasonInvalidConfig || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error = %v", err)
	}
}

// TestProxyThatRefuses: whatever is asked for, the message says who refused it and what to
// do, and nobody asks again.
func TestProxyThatRefuses(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(server.Close)
	in := newInputs(t, ignition)
	address := in.write(t, "proxy/httpsProxy", strings.Replace(server.URL, "://", "://user:hunter2@", 1))
	in.write(t, "proxy/httpProxy", strings.Replace(server.URL, "://", "://user:hunter2@", 1))
	options := AppendOptions{
		Access: in.access(), MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
		BaseImage: elsewhere + "/os/base:1", FinalImage: in.server.Host + "/os/final:1",
	}
	options.ProxyDir = filepath.Dir(address)
	clients, err := options.Clients()
	if err != nil {
		t.Fatal(err)
	}
	fetch, err := newFetcher(clients)
	if err != nil {
		t.Fatal(err)
	}
	fetch.wait = time.Millisecond
	for name, ask := range map[string]func() error{
		"a base image": func() error {
			_, err := Append(context.Background(), options, in.progress(AppendSteps))
			return err
		},
		"a source over https": func() error {
			_, err := fetch.fetch(context.Background(), configlayer.Source{URL: "https://" + elsewhere + "/x", At: "$.at"})
			return err
		},
		"a source over http": func() error {
			_, err := fetch.fetch(context.Background(), configlayer.Source{URL: "http://" + elsewhere + "/x", At: "$.at"})
			return err
		},
	} {
		asked = 0
		message := Report(buildspec.Result{}, ask()).Message
		for _, want := range []string{elsewhere, "407 Proxy Authentication Required", api.KeyProxySecretName, api.KeyNoProxy} {
			if !strings.Contains(message, want) {
				t.Errorf("%s: %q is not in %q", name, want, message)
			}
		}
		if strings.Contains(message, "hunter2") || asked != 1 {
			t.Errorf("%s: asked %d times, message %q", name, asked, message)
		}
	}
}
