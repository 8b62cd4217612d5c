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

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

// playPush stands in for buildah: whatever it is asked succeeds, and when it is
// asked to push, which it must be, play does that. Two pipes join it to the test.
func playPush(t *testing.T, play func(pullspec string) error) {
	t.Helper()
	dir := t.TempDir()
	to, done := filepath.Join(dir, "to"), filepath.Join(dir, "done")
	if err := errors.Join(syscall.Mkfifo(to, 0o600), syscall.Mkfifo(done, 0o600)); err != nil {
		t.Fatal(err)
	}
	buildahtest.Fake(t, `[ "$1" = push ] || exit 0; echo "${6#docker://}" > `+to+`; cat `+done)
	go func() {
		pullspec, err := os.ReadFile(to)
		if err == nil {
			err = play(strings.TrimSpace(string(pullspec)))
		}
		if err = errors.Join(err, os.WriteFile(done, nil, 0o600)); err != nil {
			t.Errorf("pushing: %v", err)
		}
	}()
}

const newContent = "what the steps made"

// stepsLayer is a layer as the steps leave it at a time. Of its two files, one
// was made long before.
func stepsLayer(t *testing.T, made time.Time) v1.Layer {
	t.Helper()
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	for _, name := range []string{"new", "old"} {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(newContent)), Typeflag: tar.TypeReg, ModTime: made, AccessTime: made, ChangeTime: made, Format: tar.FormatPAX}
		if name == "old" {
			header.ModTime = time.Unix(1600000000, 0)
		}
		if err := archive.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte(newContent)); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func pushTo(pullspec string, image v1.Image) error {
	reference, err := name.ParseReference(pullspec)
	if err != nil {
		return err
	}
	return remote.Write(reference, image)
}

// built is the base with one more layer, as buildah would push it.
func built(t *testing.T, made time.Time) v1.Image {
	t.Helper()
	return builtOn(t, osImage(t, "amd64"), made)
}

func builtOn(t *testing.T, base v1.Image, made time.Time) v1.Image {
	t.Helper()
	layers, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, layer := range append(layers, stepsLayer(t, made)) {
		if image, err = mutate.Append(image, mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{CreatedBy: "a step", Created: v1.Time{Time: made}}}); err != nil {
			t.Fatal(err)
		}
	}
	if image, err = mutate.CreatedAt(image, v1.Time{Time: made}); err != nil {
		t.Fatal(err)
	}
	return image
}

var builtAt = time.Unix(1800000000, 5)

// handedOver are the directories of a build that waits for its push.
func handedOver(t *testing.T, in *inputs) volumes {
	t.Helper()
	return handedOverAs(t, in, builtAt, registry.Gzip)
}

func handedOverAs(t *testing.T, in *inputs, made time.Time, compression registry.Compression) volumes {
	t.Helper()
	buildahtest.Fake(t, "exit 0")
	dirs, err := prepared(t, in, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	playPush(t, func(pullspec string) error { return pushTo(pullspec, built(t, made)) })
	if result, err := dirs.buildAs(in, compression); err != nil {
		t.Fatalf("%v\n%+v\n%s", err, result, in.log.String())
	}
	return dirs
}

var claims = map[string]string{api.ImageLabelInputsHash: "v1-true", api.ImageLabelMachineConfig: "rendered-1"}

func (v volumes) push(in *inputs) buildspec.Result {
	result, err := Push(context.Background(), PushOptions{
		Access: in.access(), WorkDir: v.work, HandoverDir: v.handover, FinalImage: in.server.Host + "/os/final:1", Labels: claims, MaxBytes: 64 << 10,
	}, in.progress(PushSteps))
	return Report(result, err)
}

func TestPushUploadsTheNewLayersAlone(t *testing.T) {
	in := newInputs(t, ignition)
	dirs := handedOver(t, in)
	before := in.server.Uploaded("os/final")
	in.server.Requests()
	report := dirs.push(in)
	if !report.Succeeded {
		t.Fatalf("report = %+v\n%s", report, in.log.String())
	}
	if gets := registrytest.Count(in.server.Requests(), "GET", "/blobs/"); gets != 0 {
		t.Errorf("%d blobs were read", gets)
	}
	image := in.server.Pull(t, in.server.Host+"/os/final:1", "amd64")
	if digest, err := image.Digest(); err != nil || digest.String() != report.Digest {
		t.Errorf("the tag names %s, the report %s, %v", digest, report.Digest, err)
	}
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if moved := in.server.Uploaded("os/final") - before; moved != dirs.newLayer(t).Size+int64(len(config)) || report.BytesPushed < moved {
		t.Errorf("%d bytes were uploaded, %d reported", moved, report.BytesPushed)
	}
	if len(report.Timings) != 3 || report.Timings[1].Name != "push" {
		t.Errorf("timings = %v", report.Timings)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := dirs.work.readPlan()
	if err != nil || manifest.Annotations[registry.AnnotationBaseName] != plan.BaseImage || manifest.Annotations[registry.AnnotationBaseDigest] != plan.ImageDigest {
		t.Errorf("annotations = %v, plan %+v, %v", manifest.Annotations, plan, err)
	}
}

// forge changes the config that lies in the hand-over, and the manifest with it.
func (v volumes) forge(t *testing.T, change func(manifest map[string]json.RawMessage, config []byte) []byte) {
	t.Helper()
	path := filepath.Join(v.handover, "manifest.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	manifest := map[string]json.RawMessage{}
	var descriptor v1.Descriptor
	if err := errors.Join(json.Unmarshal(raw, &manifest), json.Unmarshal(manifest["config"], &descriptor)); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(v.handover, descriptor.Digest.Hex)
	config, err := os.ReadFile(old)
	if err != nil {
		t.Fatal(err)
	}
	config = change(manifest, config)
	if descriptor.Digest, descriptor.Size, err = v1.SHA256(bytes.NewReader(config)); err != nil {
		t.Fatal(err)
	}
	if manifest["config"], err = json.Marshal(descriptor); err != nil {
		t.Fatal(err)
	}
	if raw, err = json.Marshal(manifest); err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.WriteFile(filepath.Join(v.handover, descriptor.Digest.Hex), config, 0o600), os.WriteFile(path, raw, 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// TestImageClaimsTheInputsOfItsRequest: whatever the steps leave, labels and
// annotations are those that push was given, for every reader of JSON.
func TestImageClaimsTheInputsOfItsRequest(t *testing.T) {
	forgeries := map[string]string{
		"another value": `"config":{"Labels":{"HASH":"v1-forged"}}`,
		"twice":         `"config":{"Labels":{"HASH":"v1-true","HASH":"v1-forged"}}`,
		"other case":    `"config":{"Labels":{"x":"y"},"labels":{"HASH":"v1-forged"}},"Config":{"labels":{"HASH":"v1-forged"}}`,
		"nothing":       `"config":{"Labels":null}`,
		"no config":     `"author":"me"`,
	}
	for title, forgery := range forgeries {
		t.Run(title, func(t *testing.T) {
			in := newInputs(t, ignition)
			dirs := handedOver(t, in)
			dirs.forge(t, func(manifest map[string]json.RawMessage, config []byte) []byte {
				manifest["annotations"] = json.RawMessage(`{"` + registry.AnnotationBaseDigest + `":"sha256:forged"}`)
				var kept struct {
					RootFS json.RawMessage `json:"rootfs"`
				}
				if err := json.Unmarshal(config, &kept); err != nil {
					t.Fatal(err)
				}
				return []byte(`{"architecture":"amd64","os":"linux","rootfs":` + string(kept.RootFS) + `,` + strings.ReplaceAll(forgery, "HASH", api.ImageLabelInputsHash) + `}`)
			})
			if report := dirs.push(in); !report.Succeeded {
				t.Fatalf("report = %+v", report)
			}
			image := in.server.Pull(t, in.server.Host+"/os/final:1", "amd64")
			config, err := image.RawConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := image.RawManifest()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(config)+string(manifest), "forged") || strings.Count(string(config), `"`+api.ImageLabelInputsHash+`":"v1-true"`) != 1 {
				t.Errorf("config = %s\nmanifest = %s", config, manifest)
			}
		})
	}
}

func TestPushRefusesWhatIsNoImage(t *testing.T) {
	secret := "hunter2hunter2"
	tests := []struct {
		name, reason, message string
		spoil                 func(*testing.T, *inputs, volumes)
	}{
		{
			name: "S13 the registry names another digest", reason: api.ReasonUnconfirmedDigest,
			spoil: func(t *testing.T, in *inputs, _ volumes) {
				in.server.Push(t, "os/final:1", osImage(t, "amd64"))
				in.server.Fault(func(r *http.Request) (int, bool) {
					return http.StatusCreated, r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/os/final/manifests/1")
				})
			},
		},
		{
			name: "the registry refuses", reason: api.ReasonPushFailed, message: "access denied",
			spoil: func(_ *testing.T, in *inputs, _ volumes) {
				in.server.Fault(func(r *http.Request) (int, bool) { return http.StatusForbidden, r.Method == http.MethodPost })
			},
		},
		{
			name: "a layer with another content", reason: api.ReasonBuildFailed, message: "has the digest sha256:",
			spoil: func(t *testing.T, _ *inputs, v volumes) {
				v.overLayer(t, func(path string) error {
					return os.WriteFile(path, bytes.Repeat([]byte("x"), int(v.newLayer(t).Size)), 0o600)
				})
			},
		},
		{
			name: "a link to a file of push's own container", reason: api.ReasonBuildFailed, message: "is a symbolic link, want a file (see what the steps",
			spoil: func(t *testing.T, in *inputs, v volumes) {
				own := in.write(t, "push-secret", secret)
				v.overLayer(t, func(path string) error { return errors.Join(os.Remove(path), os.Symlink(own, path)) })
			},
		},
		{
			name: "a layer for which nothing was written", reason: api.ReasonBuildFailed, message: "all that is handed over may have 65536",
			spoil: func(t *testing.T, _ *inputs, v volumes) {
				v.overLayer(t, func(path string) error { return os.Truncate(path, 1<<42) })
				path := filepath.Join(v.handover, "manifest.json")
				manifest, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				size := func(n int64) []byte { return fmt.Appendf(nil, `"size":%d`, n) }
				if err := os.WriteFile(path, bytes.ReplaceAll(manifest, size(v.newLayer(t).Size), size(1<<42)), 0o600); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name: "nothing", reason: api.ReasonBuildFailed, message: "manifest.json: no such file",
			spoil: func(t *testing.T, _ *inputs, v volumes) {
				if err := os.Remove(filepath.Join(v.handover, "manifest.json")); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in := newInputs(t, ignition)
			dirs := handedOver(t, in)
			test.spoil(t, in, dirs)
			in.server.Requests()
			report := dirs.push(in)
			if report.Succeeded || report.Digest != "" || report.Reason != test.reason || !strings.Contains(report.Message, test.message) {
				t.Errorf("report = %+v", report)
			}
			if test.reason == api.ReasonBuildFailed && registrytest.Count(in.server.Requests(), "PUT", "/manifests/") != 0 {
				t.Error("a manifest was written")
			}
			if strings.Contains(report.Message, secret) {
				t.Errorf("the message tells the secret: %s", report.Message)
			}
		})
	}
}

// overLayer puts something in the place of the new layer.
func (v volumes) overLayer(t *testing.T, put func(path string) error) {
	t.Helper()
	if err := put(filepath.Join(v.handover, v.newLayer(t).Digest.Hex)); err != nil {
		t.Fatal(err)
	}
}

// newLayer is the uppermost layer, as the hand-over's manifest has it.
func (v volumes) newLayer(t *testing.T) v1.Descriptor {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(v.handover, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Layers[len(manifest.Layers)-1]
}

func TestHandOverFailures(t *testing.T) {
	in := newInputs(t, ignition)
	buildahtest.Fake(t, "exit 0")
	dirs, err := prepared(t, in, "FROM configs AS final\nRUN true\n")
	if err != nil {
		t.Fatal(err)
	}
	buildahtest.Fake(t, `[ "$1" = push ] && echo "layer not known" && exit 125; exit 0`)
	if _, err := dirs.build(in); err == nil || err.Error() != "handing the image over: buildah push: exit status 125: layer not known" {
		t.Errorf("error = %v", err)
	}
	if report := dirs.push(in); !strings.Contains(report.Message, handover.ErrRefused.Error()) {
		t.Errorf("report = %+v", report)
	}
}
