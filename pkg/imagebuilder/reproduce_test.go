package imagebuilder

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// Variables that make a test of this package's program the process of a build.
const (
	envInputs = "MOB_TEST_APPEND_INPUTS"
	envSHA256 = "MOB_TEST_APPEND_SHA256"
	envBase   = "MOB_TEST_APPEND_BASE"
	envFinal  = "MOB_TEST_APPEND_FINAL"
)

// TestProcessOfABuild is one build of TestSameInputsGiveTheSameBytes.
func TestProcessOfABuild(t *testing.T) {
	dir := os.Getenv(envInputs)
	if dir == "" {
		t.Skip("the other test starts it")
	}
	labels := map[string]string{}
	for i := range 30 {
		labels[fmt.Sprintf("label-%d", i)] = "value"
	}
	result, err := Append(context.Background(), AppendOptions{
		Access:           registryaccess.Access{CAFiles: []string{filepath.Join(dir, "ca.crt")}},
		MachineConfigDir: filepath.Join(dir, "config"), MachineConfigSHA256: os.Getenv(envSHA256),
		BaseImage: os.Getenv(envBase), FinalImage: os.Getenv(envFinal), Labels: labels,
		Compression: registry.Compression(os.Getenv("MOB_TEST_APPEND_COMPRESSION")),
	}, steplog.NewProgress(os.Stderr, AppendSteps, time.Now))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("digest=%s\n", result.Digest)
}

// TestSameInputsGiveTheSameBytes makes an image twenty times and more, each time in
// another process, at another time, in another time zone and with another number
// of processors, sometimes learning the base and sometimes not.
func TestSameInputsGiveTheSameBytes(t *testing.T) {
	in := newInputs(t, ignition)
	base := in.pushBase(t)
	for compressed, number := range map[string]int{"gzip": 20, "zstd": 5} {
		digests := map[string][]int{}
		for i := range number {
			command := exec.Command(os.Args[0], "-test.run=^TestProcessOfABuild$")
			command.Env = append(os.Environ(), envInputs+"="+in.dir, envSHA256+"="+in.sha256, envBase+"="+base,
				envFinal+"="+fmt.Sprintf("%s/os/final-%d:rendered-%d", in.server.Host, i%4, i), "MOB_TEST_APPEND_COMPRESSION="+compressed,
				fmt.Sprintf("GOMAXPROCS=%d", 1+i%7), fmt.Sprintf("TZ=Etc/GMT%+d", i-5))
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, output)
			}
			_, rest, _ := strings.Cut(string(output), "digest=")
			digest, _, _ := strings.Cut(rest, "\n")
			if !strings.HasPrefix(digest, "sha256:") {
				t.Fatalf("no digest:\n%s", output)
			}
			digests[digest] = append(digests[digest], i)
		}
		if len(digests) != 1 {
			t.Errorf("%s: digests = %v", compressed, digests)
		}
	}
}

// times are those that a layer tells of its files.
func times(t *testing.T, layer v1.Layer) map[string]tar.Header {
	t.Helper()
	stream, err := layer.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := registry.Decompress(stream)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	out := map[string]tar.Header{}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out[header.Name] = *header
	}
}

// TestUnchangedStepsGiveTheSameImage: two builds differ in when their steps ran,
// and in nothing that can be seen of the images.
func TestUnchangedStepsGiveTheSameImage(t *testing.T) {
	for _, compressed := range []registry.Compression{registry.Gzip, registry.Zstd} {
		t.Run(string(compressed), func(t *testing.T) {
			in := newInputs(t, ignition)
			var digests []string
			for _, made := range []time.Time{builtAt, builtAt.Add(90 * time.Minute)} {
				report := handedOverAs(t, in, made, compressed).push(in)
				if !report.Succeeded {
					t.Fatalf("report = %+v\n%s", report, in.log.String())
				}
				digests = append(digests, report.Digest)
			}
			if digests[0] != digests[1] {
				t.Errorf("digests = %v", digests)
			}
			checkTimes(t, in.server.Pull(t, in.server.Host+"/os/final:1", "amd64"), compressed.MediaType())
		})
	}
}

func checkTimes(t *testing.T, image v1.Image, media types.MediaType) {
	t.Helper()
	epoch := time.Unix(1700000000, 0) // when the base was made
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if last := config.History[len(config.History)-1]; !config.Created.Equal(epoch) || !last.Created.Equal(epoch) || last.CreatedBy != "a step" {
		t.Errorf("created %s, history %+v", config.Created, last)
	}
	files := times(t, layers[len(layers)-1])
	if !files["new"].ModTime.Equal(epoch) || !files["old"].ModTime.Equal(time.Unix(1600000000, 0)) {
		t.Errorf("the new file is of %s, the old of %s", files["new"].ModTime, files["old"].ModTime)
	}
	for name, header := range files {
		if !header.AccessTime.IsZero() || !header.ChangeTime.IsZero() || len(header.PAXRecords) > 0 {
			t.Errorf("%s: %+v", name, header)
		}
	}
	for i, layer := range layers {
		want := types.OCILayer
		if i == len(layers)-1 {
			want = media
		}
		if got, err := layer.MediaType(); err != nil || got != want {
			t.Errorf("layer %d is of type %s, want %s, %v", i, got, want, err)
		}
	}
}

// TestBaseIsHandedOverAsItIs: where the base's layers could not be copied they
// are handed over, and are then not settled.
func TestBaseIsHandedOverAsItIs(t *testing.T) {
	in := newInputs(t, ignition)
	dirs := handedOver(t, in)
	plan, err := dirs.work.readPlan()
	if err != nil {
		t.Fatal(err)
	}
	plan.Present = nil
	if err := dirs.work.writePlan(plan); err != nil {
		t.Fatal(err)
	}
	playPush(t, func(pullspec string) error { return pushTo(pullspec, built(t, builtAt)) })
	if result, err := dirs.buildAs(in, registry.Zstd); err != nil {
		t.Fatalf("%v\n%+v", err, result)
	}
	if report := dirs.push(in); !report.Succeeded {
		t.Fatalf("report = %+v\n%s", report, in.log.String())
	}
	want, err := osImage(t, "amd64").Layers()
	if err != nil {
		t.Fatal(err)
	}
	got, err := in.server.Pull(t, in.server.Host+"/os/final:1", "amd64").Layers()
	if err != nil || len(got) != len(want)+1 {
		t.Fatalf("%d layers, %v", len(got), err)
	}
	for i := range want {
		a, _ := want[i].Digest()
		if b, err := got[i].Digest(); a != b || err != nil {
			t.Errorf("layer %d is %s, the base's %s, %v", i, b, a, err)
		}
	}
}

// zstdImage is osImage with layers that zstd compressed.
func zstdImage(t *testing.T, architecture string) v1.Image {
	t.Helper()
	plain, err := osImage(t, architecture).Layers()
	if err != nil {
		t.Fatal(err)
	}
	image := registrytest.OCI(registrytest.Image(t, architecture))
	for _, layer := range plain {
		stream, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(stream)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
			tarball.WithCompression(compression.ZStd), tarball.WithMediaType(types.OCILayerZStd))
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.Append(image, mutate.Addendum{Layer: packed, MediaType: types.OCILayerZStd}); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

// TestCompressionOfBaseAndLayer puts a layer of each compression on a base of
// each: what is new is found beside, and on top of, what was there.
func TestCompressionOfBaseAndLayer(t *testing.T) {
	bases := map[string]struct {
		image v1.Image
		want  types.MediaType
	}{
		"Docker's gzip": {osImage(t, "amd64"), types.OCILayer},
		"OCI's gzip":    {registrytest.OCI(osImage(t, "amd64")), types.OCILayer},
		"zstd":          {zstdImage(t, "amd64"), types.OCILayerZStd},
	}
	for name, base := range bases {
		for _, compressed := range []registry.Compression{registry.Gzip, registry.Zstd} {
			t.Run(name+" below "+string(compressed), func(t *testing.T) {
				in := newInputs(t, ignition)
				result, err := in.appendAs(in.server.Push(t, "os/base:1", base.image), compressed)
				if err != nil {
					t.Fatalf("%v\n%s", err, in.log.String())
				}
				image := in.server.Pull(t, in.server.Host+"/os/final@"+result.Digest, "amd64")
				if media, err := image.MediaType(); err != nil || media != types.OCIManifestSchema1 {
					t.Errorf("the manifest is of type %s, %v", media, err)
				}
				layers, err := image.Layers()
				if err != nil || len(layers) != 3 {
					t.Fatalf("%d layers, %v", len(layers), err)
				}
				for i, want := range []types.MediaType{base.want, base.want, compressed.MediaType()} {
					if got, err := layers[i].MediaType(); err != nil || got != want {
						t.Errorf("layer %d is of type %s, want %s, %v", i, got, want, err)
					}
				}
				files := members(t, image)
				if files["var/usrlocal/bin/tool"] != "tool" || files["etc/base"] != "base of amd64\nadded" {
					t.Errorf("files = %v", files)
				}
			})
		}
	}
}

func TestEpoch(t *testing.T) {
	for created, want := range map[time.Time]int64{
		{}: 0, time.Unix(-5, 0): 0, time.Unix(0, 0): 0, time.Unix(1700000000, 999): 1700000000,
		time.Unix(1700000000, 0).In(time.FixedZone("", 3600)): 1700000000,
	} {
		if got := epochOf(created); got.Unix() != want || got.Nanosecond() != 0 || got.Location() != time.UTC {
			t.Errorf("%s gives %s", created, got)
		}
	}
}

// TestPushSettlesTheTimesOfTheConfig: what is older than the epoch is the base's.
func TestPushSettlesTheTimesOfTheConfig(t *testing.T) {
	epoch := time.Unix(1700000000, 0).UTC()
	older, younger := v1.Time{Time: epoch.Add(-time.Hour)}, v1.Time{Time: epoch.Add(time.Hour)}
	image := &handover.Image{
		Config:      &v1.ConfigFile{Created: younger, History: []v1.History{{Created: older}, {}, {Created: younger}}},
		Annotations: map[string]string{annotationCreated: "2026-01-01T00:00:00Z", "other": "x"},
	}
	settleTimes(image, epoch)
	want := []v1.History{{Created: older}, {}, {Created: v1.Time{Time: epoch}}}
	if !image.Config.Created.Equal(epoch) || !slices.Equal(image.Config.History, want) {
		t.Errorf("config = %+v", image.Config)
	}
	if image.Annotations[annotationCreated] != "2023-11-14T22:13:20Z" || image.Annotations["other"] != "x" {
		t.Errorf("annotations = %v", image.Annotations)
	}
}
