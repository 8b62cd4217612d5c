package imagebuilder

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// lastRun is one build whose config comes last.
type lastRun struct {
	custom, base, token string
	// made is when the steps ran, which is in what they leave; the default is any time.
	made time.Time
	// lost is done to the registry before push.
	lost func()
}

const (
	lastCustom = "FROM HOST/tools/one:7 AS tools\nFROM configs AS final\nCOPY --from=tools /etc/base /new\n"
	lastFinal  = "/os/final:rendered-worker-1"
)

// last does all three parts and says whether steps ran.
func (in *inputs) last(t *testing.T, run lastRun) (result buildspec.Result, ran bool, err error) {
	t.Helper()
	file, err := dockerfile.Parse(strings.ReplaceAll(run.custom, "HOST", in.server.Host))
	if err != nil {
		t.Fatal(err)
	}
	text, err := file.Render(dockerfile.Configs{Base: run.base, ConfigLast: true})
	if err != nil {
		t.Fatal(err)
	}
	dirs, config := newVolumes(t), filepath.Join(in.dir, "config")
	calls := buildahtest.Fake(t, "exit 0")
	if _, err := Prepare(context.Background(), PrepareOptions{
		Access: in.access(), WorkDir: dirs.work, StorageDir: dirs.storage, MachineConfigDir: config, MachineConfigSHA256: in.sha256,
		BaseImage: run.base, FinalImage: in.server.Host + lastFinal, RebuildToken: run.token,
		DockerfileDir: filepath.Dir(in.write(t, "dockerfile/0000", text)), DockerfileSHA256: names.Content([]byte(text)),
	}, in.progress(PrepareSteps)); err != nil {
		return result, false, err
	}
	if ran = len(calls()) > 0; ran {
		playPush(t, func(pullspec string) error { return pushTo(pullspec, leftBy(t, run)) })
	}
	if _, err := dirs.build(in); err != nil {
		return result, ran, err
	}
	if run.lost != nil {
		run.lost()
	}
	result, err = Push(context.Background(), PushOptions{
		Access: in.access(), WorkDir: dirs.work, HandoverDir: dirs.handover, FinalImage: in.server.Host + lastFinal, MaxBytes: MaxBytes,
		Labels: map[string]string{"machineconfig": "rendered-worker-1"}, MachineConfigDir: config, MachineConfigSHA256: in.sha256, Compression: registry.Gzip,
	}, in.progress(PushLastSteps))
	return result, ran, err
}

func newLast(t *testing.T) (*inputs, lastRun) {
	t.Helper()
	in := newInputs(t, ignition)
	in.server.Push(t, "tools/one:7", osImage(t, "amd64"))
	return in, lastRun{custom: lastCustom, base: in.pushBase(t)}
}

// TestConfigLast: steps run once, and the config is laid on what they left, for
// that config and for the next, which reads no layer of the base.
func TestConfigLast(t *testing.T) {
	in, run := newLast(t)
	for i, want := range []string{"one", "two"} {
		config := newInputs(t, `{"ignition":{"version":"3.2.0"},"storage":{"files":[
			{"path":"/usr/local/bin/tool","contents":{"source":"data:,`+want+`"}},
			{"path":"/new","overwrite":false,"append":[{"source":"data:,+`+want+`"}]}]}}`)
		in.dir, in.sha256 = config.dir, config.sha256
		in.write(t, "ca.crt", string(in.server.CA))
		in.server.Requests()
		in.log.Reset()
		result, ran, err := in.last(t, run)
		if err != nil || ran != (i == 0) {
			t.Fatalf("steps ran: %t, %v\n%s", ran, err, in.log.String())
		}
		requests := in.server.Requests()
		if reads := registrytest.Count(requests, "GET", "/tools/one/blobs/"); i > 0 && reads > 1 {
			t.Errorf("%d blobs of the tools were read", reads)
		}
		if reads := registrytest.Count(requests, "GET", "/os/base/blobs/"); i > 0 && reads > 2 {
			t.Errorf("%d blobs of the base were read, of which two are configs", reads)
		}
		image := in.server.Pull(t, in.server.Host+"/os/final@"+result.Digest, "amd64")
		files := members(t, image)
		if files["var/usrlocal/bin/tool"] != want || files["new"] != newContent+"+"+want {
			t.Errorf("files %v", files)
		}
		info, err := newTestClient(t, in).Inspect(context.Background(), in.server.Host+lastFinal)
		if err != nil || info.Digest != result.Digest || info.Labels["machineconfig"] != "rendered-worker-1" || info.Annotations[registry.AnnotationBaseName] != run.base {
			t.Errorf("image %+v, %v", info, err)
		}
		kept, err := newTestClient(t, in).Inspect(context.Background(), in.server.Host+"/os/final@"+result.StepsDigest)
		if err != nil || kept.Labels["machineconfig"] != "" || len(kept.Annotations[annotationStepsKey]) != 64 {
			t.Errorf("kept %+v, %v", kept, err)
		}
		if strings.Contains(in.log.String(), "learning its files from 3 layers") {
			t.Errorf("what was known of the base is learned again:\n%s", in.log.String())
		}
	}
}

func newTestClient(t *testing.T, in *inputs) *registry.Client {
	t.Helper()
	client, err := registry.NewClient(registry.Options{CAs: [][]byte{in.server.CA}, Retry: registry.Retry{Tries: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// otherImage is not that of osImage.
func otherImage(t *testing.T) v1.Image {
	t.Helper()
	return registrytest.Image(t, "amd64", registrytest.Tar(t,
		registrytest.Member{Name: "etc/"}, registrytest.Member{Name: "etc/base", Content: "other"}, registrytest.Member{Name: "usr/"}))
}

// TestStepsRunAgain for whatever they depend on, and for nothing else.
func TestStepsRunAgain(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*testing.T, *inputs, *lastRun)
		runs   bool
	}{
		"nothing changed": {change: func(*testing.T, *inputs, *lastRun) {}},
		"another config": {change: func(t *testing.T, in *inputs, _ *lastRun) {
			other := newInputs(t, strings.ReplaceAll(ignition, "data:,tool", "data:,other"))
			in.dir, in.sha256 = other.dir, other.sha256
			in.write(t, "ca.crt", string(in.server.CA))
		}},
		"another Dockerfile":   {change: func(_ *testing.T, _ *inputs, run *lastRun) { run.custom += "# a comment\n" }, runs: true},
		"a rebuild":            {change: func(_ *testing.T, _ *inputs, run *lastRun) { run.token = "again" }, runs: true},
		"a tool's tag moved":   {change: func(t *testing.T, in *inputs, _ *lastRun) { in.server.Push(t, "tools/one:7", otherImage(t)) }, runs: true},
		"the base's tag moved": {change: func(t *testing.T, in *inputs, _ *lastRun) { in.server.Push(t, "os/base:1", otherImage(t)) }, runs: true},
		"another name of the same base": {change: func(t *testing.T, in *inputs, run *lastRun) {
			run.base = in.server.Push(t, "os/base:2", registrytest.Index(t, osImage(t, "amd64"), osImage(t, "arm64")))
		}},
		"what was kept is another image": {change: func(t *testing.T, in *inputs, _ *lastRun) { in.replaceKept(t) }, runs: true},
	} {
		t.Run(name, func(t *testing.T) {
			in, run := newLast(t)
			before, _, err := in.last(t, run)
			if err != nil {
				t.Fatal(err)
			}
			row.change(t, in, &run)
			in.log.Reset()
			after, ran, err := in.last(t, run)
			if err != nil || ran != row.runs {
				t.Fatalf("steps ran: %t, want %t, %v\n%s", ran, row.runs, err, in.log.String())
			}
			if !ran && after.StepsDigest != before.StepsDigest {
				t.Errorf("made of %s, not of %s", after.StepsDigest, before.StepsDigest)
			}
			if same := after.Digest == before.Digest; same != (name == "nothing changed" || name == "what was kept is another image" || name == "a rebuild") && name != "another name of the same base" {
				t.Errorf("the image's digest was %s and is %s", before.Digest, after.Digest)
			}
		})
	}
}

// replaceKept puts another image where results of steps are kept.
func (in *inputs) replaceKept(t *testing.T) {
	t.Helper()
	for _, request := range in.server.Requests() {
		if tag, found := strings.CutPrefix(request, "PUT /v2/os/final/manifests/cache-"); found {
			in.server.Push(t, "os/final:cache-"+tag, osImage(t, "amd64"))
		}
	}
}

// TestKeptStepsAreLost between the look and the use: the try fails, and says how.
func TestKeptStepsAreLost(t *testing.T) {
	in, run := newLast(t)
	first, _, err := in.last(t, run)
	if err != nil {
		t.Fatal(err)
	}
	run.lost = func() {
		if err := newTestClient(t, in).Delete(context.Background(), in.server.Host+"/os/final@"+first.StepsDigest); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = in.last(t, run)
	if got := Report(buildspec.Result{}, err); got.Reason != api.ReasonPullFailed || !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("%+v, %v", got, err)
	}
	run.lost = nil
	in.replaceKept(t) // this registry keeps a tag whose digest is gone
	if again, ran, err := in.last(t, run); err != nil || !ran || again.Digest != first.Digest {
		t.Errorf("the next try: %s, steps ran: %t, %v", again.Digest, ran, err)
	}
}

// leftBy is what steps leave that tell the time in a file.
func leftBy(t *testing.T, run lastRun) v1.Image {
	t.Helper()
	image := built(t, time.Unix(1700000000, 0))
	if run.made.IsZero() {
		return image
	}
	content := registrytest.Tar(t, registrytest.Member{Name: "made", Content: run.made.String()})
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: types.OCILayer}); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestOnlyTheNewestResultCounts, whatever asked for it: what a rebuild was to bring
// does not go when nobody asks for that rebuild any more.
func TestOnlyTheNewestResultCounts(t *testing.T) {
	in, run := newLast(t)
	newest := ""
	for n, row := range []struct {
		token string
		ran   bool
	}{
		{"", true},
		{"", false},
		{"fix", true},
		{"fix", false},
		{"", false},
		{"another", true},
		{"fix", true},
		{"", false},
		{"fix", false},
	} {
		run.token, run.made = row.token, time.Unix(int64(n), 0)
		result, ran, err := in.last(t, run)
		if err != nil || ran != row.ran {
			t.Fatalf("%d: rebuild %q: steps ran: %t, want %t, %v", n, row.token, ran, row.ran, err)
		}
		if ran {
			newest = result.StepsDigest
		}
		if result.StepsDigest != newest {
			t.Errorf("%d: rebuild %q: made of %s, the newest is %s", n, row.token, result.StepsDigest, newest)
		}
	}
}
