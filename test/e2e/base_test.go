//go:build e2e

package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestBases builds on bases of every kind side by side, each named by a pool's
// own config, with and without a Dockerfile.
func TestBases(t *testing.T) {
	const pullSecret = "e2e-pull-base"
	s := newScenario(t)
	plain, err := cluster.OpenImage(cluster.PlainImage)
	s.must(err)
	repository := cluster.Registry + "/e2e/bases:"
	s.must(cluster.PushImage(repository+"zstd", withZstd(t, plain)))
	s.must(cluster.PushImage(repository+"named", withUser(t, plain)))
	s.must(cluster.PushImage(repository+"bootc", withBootc(t, plain)))
	s.must(cluster.PushIndex(repository+"platforms", twoPlatforms(t, plain)))

	s.must(cluster.SetPullSecret(s.ctx, pullSecret, corev1.SecretTypeDockerConfigJson))
	s.configure(map[string]string{api.KeyBaseImagePullSecretName: pullSecret, api.KeyMaxConcurrentBuilds: "3"})
	bases := map[string]string{
		"zstd": repository + "zstd", "named": repository + "named", "bootc": repository + "bootc", "platforms": repository + "platforms",
		"links": cluster.BaseImage, "elsewhere": cluster.AuthBaseImage,
	}
	dockerfiles := map[string]string{}
	for base := range bases {
		dockerfiles[base+"-steps"] = "FROM configs AS final\nRUN cp -p /etc/pool /etc/copy\n"
	}
	s.dockerfiles(dockerfiles)
	for base, pullspec := range bases {
		for _, pool := range []string{base, base + "-steps"} {
			mc := live.FileConfig(configOf(pool), "/etc/pool", pool)
			if base == "named" {
				mc.Spec.Config.Raw = bytes.ReplaceAll(mc.Spec.Config.Raw, []byte(`"mode":420`), []byte(`"user":{"name":"agent"},"group":{"name":"agents"},"mode":420`))
			}
			mc.Spec.OSImageURL, mc.Spec.KernelArguments = pullspec, []string{"nosmt", `console=tty0 panic="1 2"`}
			s.must(cluster.SetMachineConfig(s.ctx, mc))
			s.must(cluster.AddPool(s.ctx, pool, mc.Name))
			s.must(cluster.OptIn(s.ctx, pool))
		}
	}
	for base, pullspec := range bases {
		owner := 0
		if base == "named" {
			owner = agentID
		}
		s.prove(base, func(s *scenario) {
			below, err := cluster.OpenImage(pullspec)
			s.must(err)
			for _, pool := range []string{base, base + "-steps"} {
				files, err := s.builtFor(pool).FilesAbove(below)
				s.must(err)
				want := map[string]live.File{"etc/pool": file(0o644, owner, pool)}
				if strings.HasSuffix(pool, "-steps") {
					want["etc/copy"] = want["etc/pool"]
				}
				if base == "bootc" {
					want["usr/lib/bootc/kargs.d/50-machine-config.toml"] = file(0o644, 0, `kargs = ["nosmt","console=tty0","panic=\"1 2\""]`+"\n")
				}
				compareFiles(s.t, files, want)
			}
		})
	}
	s.prove("every platform of an index has the config", func(s *scenario) {
		images, err := cluster.OpenPlatforms(s.builtFor("platforms").Pullspec)
		s.must(err)
		below, err := cluster.OpenPlatforms(bases["platforms"])
		s.must(err)
		if len(images) != 2 {
			s.t.Fatalf("the index has %d images", len(images))
		}
		for i, image := range images {
			files, err := image.FilesAbove(below[i])
			s.must(err)
			compareFiles(s.t, files, map[string]live.File{"etc/pool": file(0o644, 0, "platforms")})
		}
	})
}

// withZstd is an image with its layers compressed by zstd.
func withZstd(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	config := must(image.ConfigFile())(t)
	zstd := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, layer := range must(image.Layers())(t) {
		again := must(tarball.LayerFromOpener(layer.Uncompressed, tarball.WithCompression(compression.ZStd), tarball.WithMediaType(types.OCILayerZStd)))(t)
		zstd = must(mutate.AppendLayers(zstd, again))(t)
	}
	whole := must(zstd.ConfigFile())(t).DeepCopy()
	whole.OS, whole.Architecture, whole.Config = config.OS, config.Architecture, config.Config
	return must(mutate.ConfigFile(zstd, whole))(t)
}

// agentID is that of the user and the group that withUser adds.
const agentID = 4711

// withUser is an image with a user of its own, and an entry of /etc that is theirs.
func withUser(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	passwd, group := contentOf(t, image, "etc/passwd"), contentOf(t, image, "etc/group")
	// A layer is of the kind of the others.
	kind := must(must(image.Layers())(t)[0].MediaType())(t)
	return must(mutate.AppendLayers(image, layerOf(t, kind,
		entry{"etc/passwd", 0, passwd + fmt.Sprintf("agent:x:%d:%d::/:/usr/sbin/nologin\n", agentID, agentID)},
		entry{"etc/group", 0, group + fmt.Sprintf("agents:x:%d:\n", agentID)},
		entry{"etc/agent.conf", agentID, "theirs\n"},
	)))(t)
}

// withBootc is an image with a bootc, as far as a build asks for it: one that boots
// with it is no matter of a build.
func withBootc(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	kind := must(must(image.Layers())(t)[0].MediaType())(t)
	return must(mutate.AppendLayers(image, layerOf(t, kind, entry{"usr/bin/bootc", 0, "#!/bin/false\n"})))(t)
}

// entry is a file of a layer.
type entry struct {
	path    string
	owner   int
	content string
}

func layerOf(t *testing.T, kind types.MediaType, entries ...entry) v1.Layer {
	t.Helper()
	var text bytes.Buffer
	w := tar.NewWriter(&text)
	for _, e := range entries {
		if err := w.WriteHeader(&tar.Header{Name: e.path, Mode: 0o644, Uid: e.owner, Gid: e.owner, Size: int64(len(e.content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil }
	return must(tarball.LayerFromOpener(open, tarball.WithMediaType(kind)))(t)
}

// contentOf reads a file of an image.
func contentOf(t *testing.T, image v1.Image, path string) string {
	t.Helper()
	stream := mutate.Extract(image)
	defer stream.Close()
	for reader := tar.NewReader(stream); ; {
		header := must(reader.Next())(t)
		if strings.TrimPrefix(header.Name, "./") == path {
			return string(must(io.ReadAll(reader))(t))
		}
	}
}

// twoPlatforms is an index of an image for this machine and of another that
// says to be for another.
func twoPlatforms(t *testing.T, image v1.Image) v1.ImageIndex {
	t.Helper()
	config := must(image.ConfigFile())(t).DeepCopy()
	here := v1.Platform{OS: config.OS, Architecture: config.Architecture}
	there := v1.Platform{OS: "linux", Architecture: "arm64"}
	if here.Architecture == there.Architecture {
		there.Architecture = "amd64"
	}
	config.Architecture = there.Architecture
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &here}})
	return mutate.AppendManifests(index, mutate.IndexAddendum{Add: must(mutate.ConfigFile(image, config))(t), Descriptor: v1.Descriptor{Platform: &there}})
}

// must is for a call that returns something.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestMovedBaseIsRebuilt polls a base by its tag, which then names another image.
func TestMovedBaseIsRebuilt(t *testing.T) {
	s := newScenario(t)
	plain, err := cluster.OpenImage(cluster.PlainImage)
	s.must(err)
	base := cluster.Registry + "/e2e/bases:moving"
	s.must(cluster.PushImage(base, plain))
	s.configure(map[string]string{api.KeyBaseImagePollInterval: "1s"})
	s.baseImage(base)
	config := live.FileConfig("rendered-worker-moving", "/etc/generation", "1")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	s.built(config.Name)

	s.must(cluster.PushImage(base, withUser(t, plain)))
	image := s.built(config.Name)
	below, err := cluster.OpenImage(base)
	s.must(err)
	files, err := image.FilesAbove(below)
	s.must(err)
	compareFiles(t, files, map[string]live.File{"etc/generation": file(0o644, 0, "1")})
}
