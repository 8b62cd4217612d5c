package sourcebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// pod is the directories and mounts of a Build's pod.
type pod struct {
	t       *testing.T
	server  *registrytest.Server
	build   *buildv1.Build
	dir     string
	log     bytes.Buffer
	prepare PrepareOptions
	volumes []Volume
}

// newPod makes the pod of a Build with this inline Dockerfile, in which HOST is the
// registry's.
func newPod(t *testing.T, dockerfile string) *pod {
	t.Helper()
	p := &pod{t: t, server: registrytest.New(t), dir: t.TempDir()}
	t.Cleanup(p.unmount)
	t.Setenv("TMPDIR", t.TempDir())
	for _, dir := range []string{"work", "storage", "handover"} {
		if err := os.Mkdir(filepath.Join(p.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p.build = &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: "b", Namespace: "ns"}}
	text := strings.ReplaceAll(dockerfile, "HOST", p.server.Host)
	p.build.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceDockerfile, Dockerfile: &text}
	p.build.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{}
	p.build.Spec.Output.To = &corev1.ObjectReference{Kind: "DockerImage", Name: p.server.Host + "/out/image:1"}
	p.write("ca.crt", string(p.server.CA))
	p.prepare = PrepareOptions{
		Access: p.access(), Build: p.build, WorkDir: p.work(), StorageDir: filepath.Join(p.dir, "storage"),
		ImageSecretDirs: map[int]string{}, SecretInputs: map[string]string{}, ConfigMapInputs: map[string]string{},
	}
	return p
}

// unmount lets go of what a build that failed leaves mounted, as the end of a pod does.
func (p *pod) unmount() {
	mounts, err := filepath.Glob(filepath.Join(p.dir, "storage/root/overlay/*/merged"))
	if err != nil {
		p.t.Error(err)
	}
	for _, mount := range append(mounts, filepath.Join(p.dir, "storage/root/overlay")) {
		// Most are not mounted.
		_ = syscall.Unmount(mount, syscall.MNT_DETACH)
	}
}

func (p *pod) work() WorkDir { return WorkDir(filepath.Join(p.dir, "work")) }

func (p *pod) access() registryaccess.Access {
	return registryaccess.Access{CAFiles: []string{filepath.Join(p.dir, "ca.crt")}, Retry: registry.Retry{Tries: 2, Wait: time.Millisecond}}
}

func (p *pod) write(name, content string) string {
	p.t.Helper()
	file := filepath.Join(p.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// mounted writes a volume as the kubelet does: keys are links into a hidden directory.
func (p *pod) mounted(name string, keys map[string]string) string {
	p.t.Helper()
	for key, value := range keys {
		p.write(path.Join(name, "..2026", key), value)
		if err := os.Symlink(path.Join("..data", key), filepath.Join(p.dir, name, key)); err != nil {
			p.t.Fatal(err)
		}
	}
	if err := os.Symlink("..2026", filepath.Join(p.dir, name, "..data")); err != nil {
		p.t.Fatal(err)
	}
	return filepath.Join(p.dir, name)
}

func (p *pod) progress() *steplog.Progress {
	now := time.Unix(0, 0)
	return steplog.NewProgress(&p.log, 9, func() time.Time { now = now.Add(250 * time.Millisecond); return now })
}

// run runs the containers of the pod in their order, until one fails, and returns
// what each reports.
func (p *pod) run() (reports []buildreport.Report) {
	ctx := context.Background()
	containers := []func() (buildreport.Report, error){
		func() (buildreport.Report, error) { return Prepare(ctx, p.prepare, p.progress()) },
		func() (buildreport.Report, error) {
			return Build(ctx, BuildOptions{
				Build: p.build, WorkDir: p.work(), StorageDir: p.prepare.StorageDir, HandoverDir: filepath.Join(p.dir, "handover"), Volumes: p.volumes,
			}, p.progress())
		},
		func() (buildreport.Report, error) {
			return Push(ctx, PushOptions{
				Access: p.prepare.Access, Build: p.build, WorkDir: p.work(), HandoverDir: filepath.Join(p.dir, "handover"), MaxBytes: MaxBytes,
			}, p.progress())
		},
	}
	for _, container := range containers {
		report := Report(container())
		reports = append(reports, report)
		if !report.Succeeded {
			break
		}
	}
	return reports
}

// succeed wants all to end well, and returns the image.
func (p *pod) succeed() v1.Image {
	p.t.Helper()
	reports := p.run()
	last := reports[len(reports)-1]
	if !last.Succeeded || last.Digest == "" {
		p.t.Fatalf("report = %+v\n%s", last, p.log.String())
	}
	return p.server.Pull(p.t, p.server.Host+"/out/image@"+last.Digest, "amd64")
}

// files are the regular files of an image that have one of the prefixes.
func files(t *testing.T, image v1.Image, prefixes ...string) map[string]string {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, layer := range layers {
		stream, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		archive := tar.NewReader(stream)
		for {
			header, err := archive.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, prefix := range prefixes {
				if strings.HasPrefix(header.Name, prefix) && header.Typeflag == tar.TypeReg {
					content, err := io.ReadAll(archive)
					if err != nil {
						t.Fatal(err)
					}
					found[header.Name] = string(content)
				}
			}
		}
	}
	return found
}

func config(t *testing.T, image v1.Image) *v1.ConfigFile {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

var libraries = regexp.MustCompile(`(/\S+) \(0x`)

// pushShell pushes an image in which steps can run: the shell of this machine and a
// few programs, with their libraries, below layers of the test's own.
func (p *pod) pushShell(name string, above ...[]byte) {
	p.t.Helper()
	var content bytes.Buffer
	archive := tar.NewWriter(&content)
	put := func(from, to string) {
		data, err := os.ReadFile(from)
		if err == nil {
			err = archive.WriteHeader(&tar.Header{Name: strings.TrimPrefix(to, "/"), Mode: 0o755, Size: int64(len(data)), Typeflag: tar.TypeReg})
		}
		if err == nil {
			_, err = archive.Write(data)
		}
		if err != nil {
			p.t.Fatal(err)
		}
	}
	done := map[string]bool{}
	for _, program := range []string{"sh", "cat", "ls", "mkdir", "rm", "tar"} {
		put("/bin/"+program, "/usr/bin/"+program)
		output, err := exec.Command("ldd", "/bin/"+program).Output()
		if err != nil {
			p.t.Fatalf("ldd %s: %v", program, err)
		}
		for _, match := range libraries.FindAllStringSubmatch(string(output), -1) {
			if !done[match[1]] {
				done[match[1]] = true
				put(match[1], match[1])
			}
		}
	}
	put("/bin/sh", "/bin/sh")
	if err := archive.Close(); err != nil {
		p.t.Fatal(err)
	}
	p.server.Push(p.t, name, registrytest.Image(p.t, "amd64", append([][]byte{content.Bytes()}, above...)...))
}

func TestStrategyFlags(t *testing.T) {
	skip := buildv1.ImageOptimizationSkipLayers
	for want, strategy := range map[string]buildv1.BuildStrategy{
		"--layers=true": {DockerStrategy: &buildv1.DockerBuildStrategy{}},
		"--layers=false --no-cache --build-arg A=b c --build-arg D=": {DockerStrategy: &buildv1.DockerBuildStrategy{
			NoCache: true, ImageOptimizationPolicy: &skip, BuildArgs: []corev1.EnvVar{env("A", "b c"), env("D", "")},
		}},
		"--layers=false": {SourceStrategy: &buildv1.SourceBuildStrategy{}},
	} {
		if got := strings.Join(strategyFlags(&buildv1.Build{Spec: buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{Strategy: strategy}}}), " "); got != want {
			t.Errorf("flags %q, want %q", got, want)
		}
	}
}

// TestUnkeptInstructionsAreTold, by the lines of the author's Dockerfile.
func TestUnkeptInstructionsAreTold(t *testing.T) {
	for text, want := range map[string]string{
		"FROM a\nRUN x\n": "",
		"FROM a\nSHELL [\"a\"]\nRUN x\nhealthcheck CMD x\nONBUILD RUN y\n": "      warning: the result, an OCI image, has no place for these instructions of the Dockerfile: SHELL (line 2), HEALTHCHECK (line 4), ONBUILD (line 5)\n",
		"FROM a AS b\nSHELL [\"a\"]\nFROM a\nCOPY --from=b / /\n":          "",
	} {
		p := newPod(t, text)
		p.build.Spec.PostCommit.Script = "x"
		p.build.Spec.Strategy.DockerStrategy.Env = []corev1.EnvVar{env("A", "b")}
		prepare := p.preparation()
		if err := prepare.inputs(context.Background(), &buildreport.Report{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := prepare.dockerfile(context.Background(), &buildreport.Report{}); err != nil {
			t.Fatal(err)
		}
		if got := p.log.String(); got != want {
			t.Errorf("log of\n%s:\n%s\nwant\n%s", text, got, want)
		}
	}
}

// TestVolumes: links are followed, the kubelet's own names left out, and one that leads
// back ends.
func TestVolumes(t *testing.T) {
	p := newPod(t, "")
	from := p.mounted("vol", map[string]string{"key": "value"})
	p.write("vol/deep/run", "x")
	if err := os.Chmod(filepath.Join(from, "deep/run"), 0o700); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	flags, err := volumeFlags(to, []Volume{{Name: "v", Dir: from, Destination: "/etc/v"}})
	if want := "--volume " + to + "/v:/etc/v:ro"; err != nil || strings.Join(flags, " ") != want {
		t.Errorf("flags %q, %v, want %s", flags, err, want)
	}
	if got, want := listing(t, to), "v d755|v/deep d755|v/deep/run 755 x|v/key 644 value"; got != want {
		t.Errorf("volume:\n%s\nwant\n%s", got, want)
	}
	if err := os.Symlink("..", filepath.Join(from, "deep/loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := volumeFlags(t.TempDir(), []Volume{{Name: "v", Dir: from, Destination: "/etc/v"}}); err == nil {
		t.Error("a loop is copied")
	}
}
