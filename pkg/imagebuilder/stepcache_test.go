package imagebuilder

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// playBuildah stands in for buildah and lets the test answer each command: what
// play returns is the output, an error that it failed.
func playBuildah(t *testing.T, play func(args []string) (string, error)) {
	t.Helper()
	dir := t.TempDir()
	to, done := filepath.Join(dir, "to"), filepath.Join(dir, "done")
	if err := errors.Join(syscall.Mkfifo(to, 0o600), syscall.Mkfifo(done, 0o600)); err != nil {
		t.Fatal(err)
	}
	buildahtest.Fake(t, `echo "$*" > `+to+`; out=$(cat `+done+`); echo "$out"; [ "${out#failed}" = "$out" ]`)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			command, err := os.ReadFile(to)
			if err != nil || string(command) == "end" {
				return
			}
			output, err := play(strings.Fields(string(command)))
			if err != nil {
				output = "failed: " + err.Error()
			}
			if err := os.WriteFile(done, []byte(output+"\n"), 0o600); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = os.WriteFile(to, []byte("end"), 0o600)
		<-ended
	})
}

// cachedBuild is a build with a build cache, and what came of it.
type cachedBuild struct {
	custom, token, pool string
	// fault is of the registry, once the images are pulled.
	fault func(*http.Request) (int, bool)

	ran    []string // instructions that ran
	digest string
}

const cachedCustom = "FROM configs AS final\nRUN one\nENV A=b\nRUN two\n"

// cached does all three parts. The store of its buildah holds the images of steps
// that were pulled into it, by their keys.
func (in *inputs) cached(t *testing.T, b *cachedBuild) (buildspec.Result, error) {
	t.Helper()
	base := in.pushBase(t)
	text, err := dockerfile.Render(dockerfile.Configs{Base: base}, b.custom)
	if err != nil {
		t.Fatal(err)
	}
	dirs, config, images, store := newVolumes(t), filepath.Join(in.dir, "config"), map[string]v1.Image{}, map[string]bool{}
	playBuildah(t, func(args []string) (string, error) {
		switch last := args[len(args)-1]; {
		case slices.Contains(args, "--all-tags"):
			return "", pullTags(strings.TrimPrefix(last, "docker://"), store)
		case slices.Contains(args, "build"):
			return b.play(t, dirs, text, store, images), nil
		case slices.Contains(args, "push"):
			image, found := images[args[len(args)-2]]
			if !found {
				return "", fmt.Errorf("no image %q", args[len(args)-2])
			}
			return "", pushTo(strings.TrimPrefix(last, "docker://"), image)
		}
		return "", nil
	})
	pool := "worker"
	if b.pool != "" {
		pool = b.pool
	}
	if b.fault != nil {
		in.server.Fault(b.fault)
		defer in.server.Fault(nil)
	}
	if _, err := Prepare(context.Background(), PrepareOptions{
		Access: in.access(), WorkDir: dirs.work, StorageDir: dirs.storage, MachineConfigDir: config, MachineConfigSHA256: in.sha256,
		BaseImage: base, FinalImage: in.server.Host + lastFinal, RebuildToken: b.token, BuildCache: names.BuildCacheID(pool, "1"),
		DockerfileDir: filepath.Dir(in.write(t, "dockerfile/0000", text)), DockerfileSHA256: names.Content([]byte(text)),
	}, in.progress(PrepareSteps)); err != nil {
		return buildspec.Result{}, err
	}
	if _, err := dirs.build(in); err != nil {
		return buildspec.Result{}, err
	}
	result, err := Push(context.Background(), PushOptions{
		Access: in.access(), WorkDir: dirs.work, HandoverDir: dirs.handover, FinalImage: in.server.Host + lastFinal, MaxBytes: MaxBytes,
	}, in.progress(PushSteps))
	b.digest = result.Digest
	return result, err
}

// play runs the steps whose images are not in the store, as buildah does.
func (b *cachedBuild) play(t *testing.T, dirs volumes, text string, store map[string]bool, images map[string]v1.Image) string {
	plan, err := dirs.work.readPlan()
	if err != nil {
		t.Error(err)
		return "failed"
	}
	layers, steps := ociImage(t), strings.Split(strings.TrimSpace(text[strings.Index(text, "ADD "):]), "\n")
	var out strings.Builder
	missed, at := false, buildah.StepAt{Stage: 1, Number: 1}
	for _, step := range steps {
		if at.Number++; strings.HasPrefix(step, "FROM ") {
			at = buildah.StepAt{Stage: at.Stage + 1, Number: 1}
			continue
		}
		key := plan.Cache.key(at.Stage, at.Number)
		fmt.Fprintf(&out, "[%d/2] STEP %d/9: %s\n", at.Stage, at.Number, step)
		layers = withStep(t, layers, step)
		if missed = missed || !store[key]; missed {
			b.ran = append(b.ran, step)
		} else {
			fmt.Fprintf(&out, "--> Using cache %s\n", key)
		}
		images[key[:12]], images[builtImage] = layers, layers
		fmt.Fprintf(&out, "--> %s\n", key[:12])
	}
	return out.String()
}

// ociImage is osImage as buildah writes it.
func ociImage(t *testing.T) v1.Image {
	t.Helper()
	layers, err := osImage(t, "amd64").Layers()
	if err != nil {
		t.Fatal(err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, layer := range layers {
		if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: types.OCILayer}); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

func withStep(t *testing.T, image v1.Image, step string) v1.Image {
	t.Helper()
	content := registrytest.Tar(t, registrytest.Member{Name: "step-" + hex.EncodeToString([]byte(step)), Content: step})
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		t.Fatal(err)
	}
	out, err := mutate.Append(image, mutate.Addendum{
		Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: step, Created: v1.Time{Time: time.Unix(1800000000, 7)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// pullTags pulls every image of a repository with all that it has.
func pullTags(repository string, store map[string]bool) error {
	from, err := name.NewRepository(repository, name.Insecure)
	if err != nil {
		return err
	}
	tags, err := remote.List(from)
	if err != nil {
		return err
	}
	for _, tag := range tags {
		image, err := remote.Image(from.Tag(tag))
		if err != nil {
			return err
		}
		layers, err := image.Layers()
		if err != nil {
			return err
		}
		for _, layer := range layers {
			content, err := layer.Compressed()
			if err != nil {
				return err
			}
			if _, err := io.Copy(io.Discard, content); err != nil {
				return err
			}
		}
		store[tag] = true
	}
	return nil
}

// TestStepsAreNotRunAgain that are what they were, for the same pool.
func TestStepsAreNotRunAgain(t *testing.T) {
	cacheOf := func(in *inputs) string {
		return in.server.Host + "/os/final:" + names.BuildCacheTag(names.BuildCacheID("worker", "1"), "amd64")
	}
	all := []string{"ADD machine-config.tar /", "RUN one", "ENV A=b", "RUN two"}
	for name, row := range map[string]struct {
		next   cachedBuild
		change func(*testing.T, *inputs)
		ran    []string
		log    string
	}{
		"nothing changed":       {},
		"the last step":         {next: cachedBuild{custom: strings.Replace(cachedCustom, "two", "three", 1)}, ran: []string{"RUN three"}},
		"the first step":        {next: cachedBuild{custom: strings.Replace(cachedCustom, "one", "three", 1)}, ran: []string{"RUN three", "ENV A=b", "RUN two"}},
		"one more step":         {next: cachedBuild{custom: cachedCustom + "RUN three\n"}, ran: []string{"RUN three"}},
		"another pool":          {next: cachedBuild{pool: "infra"}, ran: all},
		"a rebuild":             {next: cachedBuild{token: "again"}, ran: all, log: "a rebuild was asked for"},
		"a registry in trouble": {next: cachedBuild{fault: tagFault(http.StatusBadGateway)}, ran: all, log: "cannot be read, all steps run"},
		"a registry that refuses": {
			next: cachedBuild{fault: tagFault(http.StatusForbidden)}, ran: all, log: "is not written",
		},
		"it is damaged": {change: func(t *testing.T, in *inputs) {
			_, err := newTestClient(t, in).StoreArtifact(context.Background(), cacheOf(in), registry.Artifact{Type: stepCacheType, Content: []byte(`{"steps":{"x":{"layers":[{}]}}}`)})
			if err != nil {
				t.Fatal(err)
			}
		}, ran: all, log: "it is damaged"},
		"it is something else": {change: func(t *testing.T, in *inputs) {
			in.server.Push(t, strings.TrimPrefix(cacheOf(in), in.server.Host+"/"), osImage(t, "amd64"))
		}, ran: all},
	} {
		t.Run(name, func(t *testing.T) {
			in := newInputs(t, ignition)
			first := cachedBuild{custom: cachedCustom}
			if _, err := in.cached(t, &first); err != nil || !slices.Equal(first.ran, all) {
				t.Fatalf("%v ran, %v\n%s", first.ran, err, in.log.String())
			}
			if row.change != nil {
				row.change(t, in)
			}
			in.log.Reset()
			next := row.next
			if next.custom == "" {
				next.custom = cachedCustom
			}
			if _, err := in.cached(t, &next); err != nil || !slices.Equal(next.ran, row.ran) {
				t.Fatalf("%v ran, want %v, %v\n%s", next.ran, row.ran, err, in.log.String())
			}
			if !strings.Contains(in.log.String(), row.log) {
				t.Errorf("the log does not say %q:\n%s", row.log, in.log.String())
			}
			if same := next.digest == first.digest; same != (next.custom == cachedCustom) {
				t.Errorf("the image was %s and is %s", first.digest, next.digest)
			}
		})
	}
}

// tagFault fails what asks for the build cache.
func tagFault(status int) func(*http.Request) (int, bool) {
	return func(r *http.Request) (int, bool) {
		return status, strings.Contains(r.URL.Path, "/manifests/cache-")
	}
}

// TestARebuildIsAnsweredOnce: what it made is used by whoever asks for it again, and
// by builds that ask for none.
func TestARebuildIsAnsweredOnce(t *testing.T) {
	in := newInputs(t, ignition)
	for n, row := range []struct {
		token string
		ran   int
	}{{"", 4}, {"", 0}, {"fix", 4}, {"fix", 0}, {"", 0}, {"fix", 0}, {"another", 4}, {"fix", 4}} {
		build := cachedBuild{custom: cachedCustom, token: row.token}
		if _, err := in.cached(t, &build); err != nil || len(build.ran) != row.ran {
			t.Fatalf("%d: rebuild %q: %v ran, want %d, %v\n%s", n, row.token, build.ran, row.ran, err, in.log.String())
		}
	}
}

// TestLostLayerOfTheCache: then all steps run.
func TestLostLayerOfTheCache(t *testing.T) {
	in := newInputs(t, ignition)
	if _, err := in.cached(t, &cachedBuild{custom: cachedCustom}); err != nil {
		t.Fatal(err)
	}
	next := cachedBuild{custom: cachedCustom}
	gets := 0
	next.fault = func(r *http.Request) (int, bool) {
		lost := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/os/final/blobs/")
		if lost {
			gets++
		}
		// The first is the cache's document.
		return http.StatusNotFound, lost && gets > 2
	}
	if _, err := in.cached(t, &next); err != nil || len(next.ran) != 4 {
		t.Errorf("%v ran, %v\n%s", next.ran, err, in.log.String())
	}
	if !strings.Contains(in.log.String(), "cannot be used, all steps run") {
		t.Errorf("log:\n%s", in.log.String())
	}
}

// TestOnlyTheNewestCacheStays: what it superseded is deleted.
func TestOnlyTheNewestCacheStays(t *testing.T) {
	in := newInputs(t, ignition)
	if _, err := in.cached(t, &cachedBuild{custom: cachedCustom}); err != nil {
		t.Fatal(err)
	}
	tag := in.server.Host + "/os/final:" + names.BuildCacheTag(names.BuildCacheID("worker", "1"), "amd64")
	client := newTestClient(t, in)
	before, err := client.Resolve(context.Background(), tag)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.cached(t, &cachedBuild{custom: strings.Replace(cachedCustom, "two", "three", 1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Resolve(context.Background(), in.server.Host+"/os/final@"+before); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("the earlier cache is still there: %v", err)
	}
	artifact, err := client.LoadArtifact(context.Background(), tag, stepCacheType)
	if err != nil {
		t.Fatal(err)
	}
	document, err := parseSteps(artifact.Content)
	if err != nil || len(document.Steps) != 4 {
		t.Errorf("%d steps, %v", len(document.Steps), err)
	}
}

// TestTooManySteps: then the image is built as without a cache.
func TestTooManySteps(t *testing.T) {
	for steps, most := range map[int]bool{maxImageLayers - 3: true, maxImageLayers - 2: false} {
		in := newInputs(t, ignition)
		text, err := dockerfile.Render(dockerfile.Configs{Base: in.pushBase(t)}, "FROM configs AS final\n"+strings.Repeat("ENV A=b\n", steps))
		if err != nil {
			t.Fatal(err)
		}
		dirs := newVolumes(t)
		buildahtest.Fake(t, "exit 0")
		if _, err := Prepare(context.Background(), PrepareOptions{
			Access: in.access(), WorkDir: dirs.work, StorageDir: dirs.storage, MachineConfigDir: filepath.Join(in.dir, "config"), MachineConfigSHA256: in.sha256,
			BaseImage: in.server.Host + "/os/base:1", FinalImage: in.server.Host + lastFinal, BuildCache: names.BuildCacheID("worker", "1"),
			DockerfileDir: filepath.Dir(in.write(t, "dockerfile/0000", text)), DockerfileSHA256: names.Content([]byte(text)),
		}, in.progress(PrepareSteps)); err != nil {
			t.Fatal(err)
		}
		plan, err := dirs.work.readPlan()
		if err != nil || (plan.Cache != nil) != most || strings.Contains(in.log.String(), "join instructions") == most {
			t.Errorf("%d steps: cache %v, %v\n%s", steps, plan.Cache, err, in.log.String())
		}
	}
}

func FuzzParseSteps(f *testing.F) {
	f.Add([]byte(`{"steps":{"a":{"config":"e30=","layers":[]}}}`))
	f.Add([]byte(`{"steps":{"a":{"config":"eyJyb290ZnMiOnsiZGlmZl9pZHMiOlsiYSJdfX0=","layers":[{"digest":"sha256:1","size":1}]}}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		document, err := parseSteps(content)
		if err != nil {
			return
		}
		cache := stepCache{Keys: [][]string{{""}}, Loaded: document.Steps}
		for key := range document.Steps {
			cache.Keys[0] = append(cache.Keys[0], key)
		}
		for _, layer := range cache.present() {
			if layer.Size < 1 {
				t.Errorf("layer %+v", layer)
			}
		}
		if chosen := document.choose(cache.Keys); len(chosen) != len(document.Steps) {
			t.Errorf("%d of %d steps are chosen", len(chosen), len(document.Steps))
		}
	})
}
