package imagebuilder

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// ignition is a config that touches symbolic links of the base and appends to a
// file of it.
const ignition = `{"ignition":{"version":"3.2.0"},"storage":{"files":[
	{"path":"/usr/local/bin/tool","mode":493,"contents":{"source":"data:,tool"}},
	{"path":"/etc/base","overwrite":false,"append":[{"source":"data:,added"}]}]}}`

// inputs are the files that a build pod mounts.
type inputs struct {
	server *registrytest.Server
	dir    string
	sha256 string
	log    bytes.Buffer
}

func newInputs(t *testing.T, ignition string) *inputs {
	t.Helper()
	in := &inputs{server: registrytest.New(t), dir: t.TempDir()}
	document, err := json.Marshal(&mcfgv1.MachineConfig{
		TypeMeta:   metav1.TypeMeta{APIVersion: "machineconfiguration.openshift.io/v1", Kind: "MachineConfig"},
		ObjectMeta: metav1.ObjectMeta{Name: "rendered-worker-1"},
		Spec:       mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: []byte(ignition)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := buildspec.EncodePayload(document)
	if err != nil {
		t.Fatal(err)
	}
	in.sha256 = payload.SHA256
	// As the kubelet lays a ConfigMap out: hidden entries besides the keys, and
	// here in several chunks.
	text := strings.Join(payload.Chunks, "")
	in.write(t, "config/..data/x", "hidden")
	in.write(t, "config/0000", text[:40])
	in.write(t, "config/0001", text[40:])
	in.write(t, "ca.crt", string(in.server.CA))
	return in
}

func (in *inputs) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(in.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (in *inputs) pushBase(t *testing.T) string {
	t.Helper()
	return in.server.Push(t, "os/base:1", registrytest.Index(t, osImage(t, "amd64"), osImage(t, "arm64")))
}

func osImage(t *testing.T, architecture string) v1.Image {
	return registrytest.Image(t, architecture,
		registrytest.Tar(t,
			registrytest.Member{Name: "etc/"}, registrytest.Member{Name: "etc/base", Content: "old"},
			registrytest.Member{Name: "usr/"}, registrytest.Member{Name: "usr/local", Link: "../var/usrlocal"},
			registrytest.Member{Name: "var/"}, registrytest.Member{Name: "var/usrlocal/"}),
		registrytest.Tar(t, registrytest.Member{Name: "etc/base", Content: "base of " + architecture + "\n"}))
}

func (in *inputs) progress(steps int) *steplog.Progress {
	now := time.Unix(0, 0)
	return steplog.NewProgress(&in.log, steps, func() time.Time { now = now.Add(100 * time.Millisecond); return now })
}

func (in *inputs) access() registryaccess.Access {
	return registryaccess.Access{
		CAFiles: []string{filepath.Join(in.dir, "ca.crt"), filepath.Join(in.dir, "none.crt")},
		Retry:   registry.Retry{Tries: 2, Wait: time.Millisecond},
	}
}

func (in *inputs) append(base string) (buildspec.Result, error) {
	return in.appendAs(base, registry.Gzip)
}

func (in *inputs) appendAs(base string, compression registry.Compression) (buildspec.Result, error) {
	result, err := Append(context.Background(), AppendOptions{
		Access: in.access(), MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
		BaseImage: base, FinalImage: in.server.Host + "/os/final:rendered-worker-1", Labels: map[string]string{"machineconfig": "rendered-worker-1"},
		Compression: compression,
	}, in.progress(AppendSteps))
	return Report(result, err), err
}

// members reads the names and contents of an image's top layer.
func members(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	compressed, err := layers[len(layers)-1].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := registry.Decompress(compressed)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	archive := tar.NewReader(stream)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.Trim(header.Name, "./")] = string(content)
	}
}

func TestAppend(t *testing.T) {
	in := newInputs(t, ignition)
	base := in.pushBase(t)
	first, err := in.append(base)
	if err != nil {
		t.Fatalf("%v\n%s", err, in.log.String())
	}
	for _, architecture := range []string{"amd64", "arm64"} {
		image := in.server.Pull(t, in.server.Host+"/os/final@"+first.Digest, architecture)
		files := members(t, image)
		if files["var/usrlocal/bin/tool"] != "tool" {
			t.Errorf("%s: the tool is not where the base's link leads: %v", architecture, files)
		}
		if want := "base of " + architecture + "\nadded"; files["etc/base"] != want {
			t.Errorf("%s: /etc/base = %q, want %q", architecture, files["etc/base"], want)
		}
		if !strings.Contains(files["etc/machine-config-daemon/currentconfig"], `"rendered-worker-1"`) {
			t.Errorf("%s: no currentconfig", architecture)
		}
		config, err := image.ConfigFile()
		if err != nil || config.Config.Labels["machineconfig"] != "rendered-worker-1" {
			t.Errorf("%s: config = %+v, %v", architecture, config, err)
		}
	}
	in.server.Requests()
	in.log.Reset()
	second, err := in.append(base)
	if err != nil {
		t.Fatal(err)
	}
	if first.Digest == "" || second.Digest != first.Digest || !second.Succeeded || second.BaseDigest != first.BaseDigest {
		t.Errorf("results differ: %+v, %+v", first, second)
	}
	if strings.Contains(in.log.String(), "nothing is known of this image") {
		t.Errorf("the base was learned twice:\n%s", in.log.String())
	}
	// Both images' configs, and the one layer of each that holds the file to append to.
	if reads := registrytest.Count(in.server.Requests(), "GET", "/os/base/blobs/"); reads != 4 {
		t.Errorf("%d blobs of the base were read, want 4", reads)
	}
	if len(second.Timings) != 5 || second.BytesPulled == 0 || second.BytesPushed == 0 {
		t.Errorf("result = %+v", second)
	}
}

func TestBaseIndexThatCannotBeKept(t *testing.T) {
	in := newInputs(t, ignition)
	base := in.pushBase(t)
	in.server.Fault(func(r *http.Request) (int, bool) {
		return 403, r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/base-")
	})
	if _, err := in.append(base); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(in.log.String(), "warning: the base index was not kept") {
		t.Errorf("log:\n%s", in.log.String())
	}
}

func TestBaseIndexOfSomethingElseIsLearnedAgain(t *testing.T) {
	in := newInputs(t, ignition)
	base := in.pushBase(t)
	first, err := in.append(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range in.server.Requests() {
		if path, found := strings.CutPrefix(request, "PUT /v2/os/final/manifests/base-"); found {
			in.server.Push(t, "os/final:base-"+path, osImage(t, "amd64"))
		}
	}
	in.log.Reset()
	second, err := in.append(base)
	if err != nil || second.Digest != first.Digest || !strings.Contains(in.log.String(), "nothing is known of this image") {
		t.Errorf("digests %s, %s, %v; log:\n%s", first.Digest, second.Digest, err, in.log.String())
	}
}

func TestAppendFailures(t *testing.T) {
	tests := []struct {
		name     string
		ignition string
		spoil    func(*testing.T, *inputs)
		base     string
		reason   string
		message  string
	}{
		{name: "base missing", base: "os/none:1", reason: api.ReasonPullFailed, message: "not found"},
		{name: "login refused", reason: api.ReasonPullFailed, message: "unauthorized", spoil: func(_ *testing.T, in *inputs) {
			in.server.Login(func(string, string, *http.Request) int { return 401 })
		}},
		{name: "push denied", reason: api.ReasonPushFailed, message: "access denied", spoil: func(_ *testing.T, in *inputs) {
			in.server.Fault(func(r *http.Request) (int, bool) { return 403, r.Method == http.MethodPost })
		}},
		{name: "S13 not confirmed", reason: api.ReasonUnconfirmedDigest, message: "not confirmed", spoil: func(_ *testing.T, in *inputs) {
			in.server.Fault(func(r *http.Request) (int, bool) {
				return 404, (r.Method == http.MethodHead || r.Method == http.MethodGet) && strings.Contains(r.URL.Path, "/final/manifests/")
			})
		}},
		{name: "config of another build", reason: api.ReasonBuildInterrupted, message: "reading MachineConfig", spoil: func(t *testing.T, in *inputs) {
			in.write(t, "config/0001", "AAAA")
		}},
		{name: "S35 Ignition too new", ignition: `{"ignition":{"version":"9.9.0"}}`, reason: api.ReasonInvalidRenderedConfig, message: "9.9.0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := ignition
			if test.ignition != "" {
				config = test.ignition
			}
			in := newInputs(t, config)
			base := in.pushBase(t)
			if test.base != "" {
				base = in.server.Host + "/" + test.base
			}
			if test.spoil != nil {
				test.spoil(t, in)
			}
			result, err := in.append(base)
			if err == nil || result.Succeeded || result.Digest != "" || result.Reason != test.reason || !strings.Contains(result.Message, test.message) {
				t.Errorf("result = %+v", result)
			}
		})
	}
}

func TestCredentialsOfBothFormats(t *testing.T) {
	in := newInputs(t, ignition)
	base := in.pushBase(t)
	in.server.Login(func(user, password string, r *http.Request) int {
		puller := user == "puller" && password == "hunter2"
		pusher := user == "pusher" && password == "hunter3"
		switch {
		case r.URL.Path == "/v2/" && (puller || pusher):
			return 0
		case puller && strings.Contains(r.URL.Path, "/os/base/") && (r.Method == http.MethodGet || r.Method == http.MethodHead):
			return 0
		case pusher && strings.Contains(r.URL.Path, "/os/final/"):
			return 0
		default:
			return 401
		}
	})
	pull := in.write(t, "pull/.dockercfg", fmt.Sprintf(`{%q:{"username":"puller","password":"hunter2"}}`, in.server.Host))
	push := in.write(t, "push/.dockerconfigjson", fmt.Sprintf(`{"auths":{%q:{"username":"pusher","password":"hunter3"}}}`, in.server.Host))
	access := in.access()
	access.PullSecretDirs, access.PushSecretDir = []string{filepath.Dir(pull)}, filepath.Dir(push)
	options := AppendOptions{
		Access: access, MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
		BaseImage: base, FinalImage: in.server.Host + "/os/final:1",
	}
	if _, err := Append(context.Background(), options, in.progress(AppendSteps)); err != nil {
		t.Fatalf("%v\n%s", err, in.log.String())
	}
	in.write(t, "push/.dockerconfigjson", `{"auths":{"x":{"auth":"hunter3"}}}`)
	result, err := Append(context.Background(), options, in.progress(AppendSteps))
	report := Report(result, err)
	if report.Reason != api.ReasonInvalidConfig || !strings.Contains(report.Message, "malformed credentials") {
		t.Errorf("broken Secret: %+v", report)
	}
	if text := in.log.String() + report.Message; strings.Contains(text, "hunter") {
		t.Errorf("a password is in the log:\n%s", text)
	}
}
