package imagebuilder

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

var both = []string{"amd64", "arm64"}

// otherArchitecture is one of them that this machine is not.
func otherArchitecture() string {
	if runtime.GOARCH == both[0] {
		return both[1]
	}
	return both[0]
}

// share is the build of one pod, up to its push.
func share(t *testing.T, in *inputs, architecture string) volumes {
	t.Helper()
	buildahtest.Fake(t, "exit 0")
	dirs, err := preparedFor(t, in, dockerfile.Configs{}, "FROM configs AS final\nCOPY <<EOF /new\nEOF\n", architecture)
	if err != nil {
		t.Fatal(err)
	}
	playPush(t, func(pullspec string) error {
		return pushTo(pullspec, builtOn(t, osImage(t, architecture), builtAt))
	})
	if result, err := dirs.build(in); err != nil {
		t.Fatalf("%v\n%+v\n%s", err, result, in.log.String())
	}
	return dirs
}

// join pushes what was built for an architecture.
func (v volumes) join(in *inputs, architecture, run string, labels map[string]string) buildspec.Result {
	result, err := Push(context.Background(), PushOptions{
		Access: in.access(), WorkDir: v.work, HandoverDir: v.handover, FinalImage: in.server.Host + "/os/final:1", Labels: labels, MaxBytes: 64 << 10,
		Share: Share{Architecture: architecture, Architectures: both, Run: run},
	}, in.progress(JoinSteps))
	return Report(result, err)
}

// index reads what the final tag names.
func (in *inputs) index(t *testing.T) v1.ImageIndex {
	t.Helper()
	reference, err := name.ParseReference(in.server.Host + "/os/final:1")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(reference, remote.WithTransport(in.server.Transport()))
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// TestLastPodPushesTheIndex: it has the images of this run, and the same bytes
// whoever pushes it, in this run or the next.
func TestLastPodPushesTheIndex(t *testing.T) {
	in := newInputs(t, ignition)
	pods := map[string]volumes{}
	for _, architecture := range both {
		pods[architecture] = share(t, in, architecture)
	}
	var digests []string
	for _, run := range []string{"run-1", "run-2"} {
		for i, order := range [][]string{{"amd64", "arm64"}, {"arm64", "amd64"}} {
			run := fmt.Sprintf("%s-%d", run, i)
			first := pods[order[0]].join(in, order[0], run, claims)
			if !first.Succeeded || first.Digest != "" || first.Members != nil || first.Member == "" {
				t.Fatalf("%s, first pod: %+v\n%s", run, first, in.log.String())
			}
			last := pods[order[1]].join(in, order[1], run, claims)
			want := []string{first.Member, last.Member}
			if order[0] != both[0] {
				slices.Reverse(want)
			}
			if !last.Succeeded || !slices.Equal(last.Members, want) {
				t.Fatalf("%s, last pod: %+v, want the members %v\n%s", run, last, want, in.log.String())
			}
			if again := pods[order[0]].join(in, order[0], run, claims); again.Digest != last.Digest {
				t.Errorf("%s: at once with the other, the first pod pushes %q, not %s", run, again.Digest, last.Digest)
			}
			digests = append(digests, last.Digest)
		}
	}
	if len(slices.Compact(digests)) != 1 {
		t.Errorf("the same inputs gave the indexes %v", digests)
	}
	checkIndex(t, in, pods, digests[0])
}

func checkIndex(t *testing.T, in *inputs, pods map[string]volumes, digest string) {
	t.Helper()
	index := in.index(t)
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pods["amd64"].work.readPlan()
	if got, _ := index.Digest(); err != nil || got.String() != digest || manifest.Annotations[registry.AnnotationBaseName] != plan.BaseImage || manifest.Annotations[registry.AnnotationBaseDigest] != plan.BaseDigest {
		t.Errorf("index %s, want %s, annotations %v, %v", got, digest, manifest.Annotations, err)
	}
	if len(manifest.Manifests) != len(both) {
		t.Fatalf("the index has %d members", len(manifest.Manifests))
	}
	for i, architecture := range both {
		if platform := manifest.Manifests[i].Platform.String(); platform != "linux/"+architecture {
			t.Errorf("member %d is for %s", i, platform)
		}
		image, err := index.Image(manifest.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil || config.Architecture != architecture || config.OS != system || config.Config.Labels[api.ImageLabelInputsHash] != "v1-true" {
			t.Errorf("image for %s has the config %+v, %v", architecture, config, err)
		}
		raw, err := image.RawManifest()
		if err != nil || strings.Contains(string(raw), "run-") {
			t.Errorf("the image tells the run: %s, %v", raw, err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 3 || members(t, image)["new"] != newContent {
			t.Errorf("image for %s has %d layers, %v", architecture, len(layers), err)
		}
	}
}

func TestJoinFailures(t *testing.T) {
	other := map[string]string{api.ImageLabelInputsHash: "v1-other", api.ImageLabelMachineConfig: "rendered-1"}
	for title, row := range map[string]struct {
		labels          map[string]string
		between         func(*testing.T, *inputs, volumes)
		reason, message string
	}{
		"of other inputs": {labels: other, reason: api.ReasonUnconfirmedDigest, message: `which is that of amd64, is "v1-true", want "v1-other"`},
		"of another base": {
			labels: claims, reason: api.ReasonPullFailed, message: ", read from HOST/os/base, names sha256:" + strings.Repeat("0", 64) + " for amd64, and that of amd64 was built on sha256:",
			between: func(t *testing.T, _ *inputs, v volumes) {
				plan, err := v.work.readPlan()
				if err != nil {
					t.Fatal(err)
				}
				plan.Bases["amd64"] = "sha256:" + strings.Repeat("0", 64)
				if err := v.work.writePlan(plan); err != nil {
					t.Fatal(err)
				}
			},
		},
		"no answer": {
			labels: claims, reason: api.ReasonPushFailed, message: "reading",
			between: func(_ *testing.T, in *inputs, _ volumes) {
				in.server.Fault(func(r *http.Request) (int, bool) {
					return http.StatusInternalServerError, strings.Contains(r.URL.Path, "1-amd64-")
				})
			},
		},
		"no index": {
			labels: claims, reason: api.ReasonPushFailed, message: "pushing index",
			between: func(_ *testing.T, in *inputs, _ volumes) {
				in.server.Fault(func(r *http.Request) (int, bool) {
					return http.StatusForbidden, r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/os/final/manifests/1")
				})
			},
		},
	} {
		t.Run(title, func(t *testing.T) {
			in := newInputs(t, ignition)
			if first := share(t, in, "amd64").join(in, "amd64", "run-1", claims); !first.Succeeded {
				t.Fatalf("%+v", first)
			}
			dirs := share(t, in, "arm64")
			if row.between != nil {
				row.between(t, in, dirs)
			}
			report := dirs.join(in, "arm64", "run-1", row.labels)
			if report.Succeeded || report.Digest != "" || report.Members != nil || report.Reason != row.reason || !strings.Contains(report.Message, strings.ReplaceAll(row.message, "HOST", in.server.Host)) {
				t.Errorf("report = %+v", report)
			}
		})
	}
}

func TestPlatformThatABaseDoesNotHave(t *testing.T) {
	for title, row := range map[string]struct{ architecture, custom, message string }{
		"the node's":        {"", "FROM HOST/tools/other:7 AS tools\nFROM configs AS final\n", "this node is linux/" + runtime.GOARCH + ", the image is for linux/s390x; let buildPodNodeSelector of ConfigMap on-cluster-build-config choose by the label kubernetes.io/arch nodes that the image is for, or name an image that is for linux/" + runtime.GOARCH + " too"},
		"the base":          {"s390x", "FROM configs AS final\nRUN true\n", "architectures of ConfigMap on-cluster-build-config lists s390x, the image is for linux/amd64, linux/arm64"},
		"an image it names": {"arm64", "FROM HOST/tools/one:7 AS tools\nFROM configs AS final\n", "/tools/one:7: architectures of ConfigMap on-cluster-build-config lists arm64, the image is for linux/amd64; name an image"},
	} {
		t.Run(title, func(t *testing.T) {
			buildahtest.Fake(t, "exit 0")
			in := newInputs(t, ignition)
			in.server.Push(t, "tools/other:7", osImage(t, "s390x"))
			_, err := preparedFor(t, in, dockerfile.Configs{}, row.custom, row.architecture)
			if reasonOf(err) != api.ReasonPullFailed || !strings.Contains(err.Error(), row.message) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

// TestBuildahIsToldOfAnotherPlatform, and not of the one that it chooses by itself.
func TestBuildahIsToldOfAnotherPlatform(t *testing.T) {
	for _, architecture := range []string{"", runtime.GOARCH, otherArchitecture()} {
		calls := buildahtest.Fake(t, "exit 0")
		in := newInputs(t, ignition)
		dirs, err := preparedFor(t, in, dockerfile.Configs{}, "FROM configs AS final\nCOPY <<EOF /new\nEOF\n", architecture)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = dirs.build(in) // this buildah hands nothing over
		want := 0
		if architecture == otherArchitecture() {
			want = 1
		}
		told := "--platform linux/" + otherArchitecture()
		if pulls, builds := registrytest.Count(calls(), " pull ", told), registrytest.Count(calls(), " build ", told); pulls != want || builds != want || registrytest.Count(calls(), "--platform") != 2*want {
			t.Errorf("%q: %d pulls and %d builds are told, want %d: %v", architecture, pulls, builds, want, calls())
		}
	}
}

// TestImageNamedByArchitecture: the image is that of what is built, wherever that is.
func TestImageNamedByArchitecture(t *testing.T) {
	other := otherArchitecture()
	calls := buildahtest.Fake(t, "exit 0")
	in := newInputs(t, ignition)
	in.server.Push(t, "tools/for:"+other, osImage(t, other))
	if _, err := preparedFor(t, in, dockerfile.Configs{}, "FROM HOST/tools/for:$TARGETARCH AS tools\nFROM configs AS final\nCOPY --from=tools /etc/os-release /t\n", other); err != nil {
		t.Fatal(err)
	}
	if n := registrytest.Count(calls(), " pull ", "tools/for"); n != 1 {
		t.Errorf("it is pulled %d times: %v", n, calls())
	}
}

func TestForeignProgramIsExplained(t *testing.T) {
	const output = "\nprocess failed to start with error: fork/exec /bin/sh: exec format errorsubprocess exited with status 1\nError: building at STEP \"RUN true\": exit status 1\n"
	const custom = "FROM configs AS final\nRUN true\n"
	for failed, file := range map[string]*dockerfile.File{
		"[2/2] STEP 2/2: RUN true": rendered(t, custom), "[1/2] STEP 3/4: RUN --mount=type=bind": renderedWithPackages(t, custom),
	} {
		for platform, explained := range map[string]bool{"linux/" + runtime.GOARCH: false, "linux/" + otherArchitecture(): true, "linux/" + otherArchitecture() + "/v8": true} {
			log := buildah.NewLog()
			for line := range strings.Lines(failed + output) {
				log.Add(strings.TrimSuffix(line, "\n"))
			}
			err := buildFailure(&buildah.ExitError{Command: "build", Code: 1}, log, file, platform)
			for _, text := range []string{"the image is for " + otherArchitecture(), "this node is " + runtime.GOARCH, api.KeyArchitectureSelectors, "COPY"} {
				if strings.Contains(err.Error(), text) != explained {
					t.Errorf("%s, %s: %q is in the message, want %t: %v", failed, platform, text, explained, err)
				}
			}
		}
	}
}
