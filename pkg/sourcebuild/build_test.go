package sourcebuild

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
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
	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
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

// TestDockerStrategy runs all that a Build can ask of its Dockerfile.
func TestDockerStrategy(t *testing.T) {
	p := newPod(t, "ARG V=none\nFROM HOST/tools:$V AS tools\nRUN echo $GREETING > /made\nFROM placeholder\nARG V\n"+
		"RUN echo $V $GREETING > /out && cat /etc/vol/key >> /out && ls /etc/vol > /seen\nCOPY --from=tools /made /made\nCOPY --from=other /etc/other /other\nCOPY in/a dir /in/\n")
	p.pushShell("tools:1")
	p.pushShell("base:1")
	p.server.Push(t, "other:1", registrytest.Image(t, "amd64", registrytest.Tar(t, registrytest.Member{Name: "etc/other", Content: "of another"})))
	strategy := p.build.Spec.Strategy.DockerStrategy
	strategy.From = &corev1.ObjectReference{Kind: "DockerImage", Name: p.server.Host + "/base:1"}
	strategy.BuildArgs = []corev1.EnvVar{{Name: "V", Value: "1"}}
	strategy.Env = []corev1.EnvVar{{Name: "GREETING", Value: "hello"}}
	p.build.Spec.PostCommit = buildv1.BuildPostCommitSpec{Script: `test "$(cat /out)" = "1 hello
volume" && test "$1" = "a b" && echo hooked > /hook && echo "the hook ran"`, Args: []string{"a b"}}
	p.build.Spec.Output.ImageLabels = []buildv1.ImageLabel{{Name: "l", Value: "$5"}, {Name: "io.openshift.build.name", Value: "mine"}}
	p.build.Spec.Source.Images = []buildv1.ImageSource{{As: []string{"other"}, From: corev1.ObjectReference{Name: p.server.Host + "/other:1"}}}
	p.build.Spec.Source.ConfigMaps = []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "cm"}, DestinationDir: "in"}}
	p.build.Spec.Source.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "s"}, DestinationDir: "dir"}}
	p.prepare.ConfigMapInputs["cm"] = p.mounted("cm", map[string]string{"a": "A"})
	p.prepare.SecretInputs["s"] = p.mounted("s", map[string]string{"b": "B", ".c": "C"})
	p.volumes = []Volume{{Name: "vol", Dir: p.mounted("vol", map[string]string{"key": "volume"}), Destination: "/etc/vol"}}
	image := p.succeed()

	got := files(t, image, "out", "made", "other", "in/", "hook", "etc/vol", "seen")
	want := map[string]string{"out": "1 hello\nvolume", "made": "hello\n", "other": "of another", "in/a": "A", "in/b": "B", "in/.c": "C", "seen": "key\n"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("files = %q\nwant %q", got, want)
	}
	settings := config(t, image).Config
	for key, value := range map[string]string{"l": "$5", "io.openshift.build.name": "mine", "io.openshift.build.namespace": "ns"} {
		if settings.Labels[key] != value {
			t.Errorf("label %s = %q, want %q", key, settings.Labels[key], value)
		}
	}
	if env := strings.Join(settings.Env, " "); !strings.Contains(env, "GREETING=hello") || !strings.Contains(env, "OPENSHIFT_BUILD_NAME=b") || !strings.Contains(env, "OPENSHIFT_BUILD_NAMESPACE=ns") {
		t.Errorf("environment = %q", env)
	}
	if !strings.Contains(p.log.String(), "the hook ran") {
		t.Errorf("the hook did not run:\n%s", p.log.String())
	}
}

// TestInjectedDockerfile: a ConfigMap may bring the Dockerfile, and the labels hold
// for that.
func TestInjectedDockerfile(t *testing.T) {
	p := newPod(t, "FROM scratch")
	p.pushShell("base:1")
	p.build.Spec.Source.ConfigMaps = []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "cm"}}}
	p.prepare.ConfigMapInputs["cm"] = p.mounted("cm", map[string]string{"Dockerfile": "FROM " + p.server.Host + "/base:1\nRUN echo x > /made\n"})
	p.build.Spec.Output.ImageLabels = []buildv1.ImageLabel{{Name: "l", Value: "v"}}
	image := p.succeed()
	if got := files(t, image, "made"); got["made"] != "x\n" || config(t, image).Config.Labels["l"] != "v" {
		t.Errorf("files = %q, labels %q", got, config(t, image).Config.Labels)
	}
}

// TestLayers: by default a Build keeps a layer for each instruction; where it is told
// to, it makes one.
func TestLayers(t *testing.T) {
	for policy, want := range map[buildv1.ImageOptimizationPolicy]int{"": 3, buildv1.ImageOptimizationNone: 3, buildv1.ImageOptimizationSkipLayers: 2, buildv1.ImageOptimizationSkipLayersAndWarn: 2} {
		p := newPod(t, "FROM HOST/base:1\nRUN echo x > /x\nRUN echo y > /y\n")
		p.pushShell("base:1")
		p.build.Spec.Strategy.DockerStrategy.ImageOptimizationPolicy = &policy
		layers, err := p.succeed().Layers()
		if err != nil || len(layers) != want {
			t.Errorf("%q: %d layers, %v, want %d", policy, len(layers), err, want)
		}
	}
}

// TestFailures has the reasons and texts that a Build may end with.
func TestFailures(t *testing.T) {
	for name, test := range map[string]struct {
		dockerfile string
		change     func(*pod)
		reason     buildv1.StatusReason
		message    string
		log        string // its last line
	}{
		"step": {
			"FROM HOST/base:1\nRUN echo before; exit 9\n", nil, buildv1.StatusReasonDockerBuildFailed, "Dockerfile build strategy has failed.",
			"error: step 2 failed with exit code 9: RUN echo before; exit 9",
		},
		"step of several stages": {
			"FROM HOST/base:1\nFROM HOST/base:1\nRUN exit 7\n", nil, buildv1.StatusReasonDockerBuildFailed, "Dockerfile build strategy has failed.",
			"error: step 2 failed with exit code 7: RUN exit 7",
		},
		"nothing to copy": {
			"FROM HOST/base:1\nCOPY nope /\n", nil, buildv1.StatusReasonDockerBuildFailed, "Dockerfile build strategy has failed.", "no such file or directory",
		},
		"hook": {
			"FROM HOST/base:1\n", func(p *pod) { p.build.Spec.PostCommit.Command = []string{"sh", "-c", "exit 3"} },
			buildv1.StatusReasonDockerBuildFailed, "Dockerfile build strategy has failed.", "failed with exit code 3: RUN",
		},
		"no FROM": {
			"FORM a\n", nil, buildv1.StatusReasonManageDockerfileFailed, "Failed to prepare the dockerfile for the build.", "it has no FROM",
		},
		"no Dockerfile": {
			"FROM HOST/base:1\n", func(p *pod) { p.build.Spec.Strategy.DockerStrategy.DockerfilePath = "other/Dockerfile" },
			buildv1.StatusReasonManageDockerfileFailed, "Failed to prepare the dockerfile for the build.", `the source has no Dockerfile "other/Dockerfile"`,
		},
		"no base": {
			"FROM HOST/none:1\n", nil, buildv1.StatusReasonPullBuilderImageFailed, "Failed pulling builder image.", "none:1: not found",
		},
		"a context that leads out": {
			"FROM HOST/base:1\n", func(p *pod) { p.build.Spec.Source.ContextDir = "../x" },
			buildv1.StatusReasonInvalidContextDirectory, "The supplied context directory does not exist.", "escapes",
		},
		"no content": {
			"FROM HOST/base:1\n", func(p *pod) {
				p.build.Spec.Source.Images = []buildv1.ImageSource{{From: corev1.ObjectReference{Name: p.server.Host + "/base:1"}, Paths: []buildv1.ImageSourcePath{{SourcePath: "/none", DestinationDir: "x"}}}}
			}, buildv1.StatusReasonFetchImageContentFailed, "Failed to extract image content.", "paths[0]: sourcePath /none: the image has no /none",
		},
		"an input outside": {
			"FROM HOST/base:1\n", func(p *pod) {
				p.build.Spec.Source.ConfigMaps = []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "cm"}, DestinationDir: "../../x"}}
				p.prepare.ConfigMapInputs["cm"] = p.mounted("cm", map[string]string{"a": "A"})
			}, buildv1.StatusReasonGenericBuildFailed, "Generic Build failure - check logs for details.", "spec.source.configMaps[0]: destinationDir",
		},
		"push": {
			"FROM HOST/base:1\nRUN echo x > /x\n", func(p *pod) {
				p.server.Fault(func(r *http.Request) (int, bool) {
					return http.StatusForbidden, r.Method == http.MethodPost && strings.Contains(r.URL.Path, "/out/image/")
				})
			}, buildv1.StatusReasonPushImageToRegistryFailed, "Failed to push the image to the registry.", "/out/image:1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPod(t, test.dockerfile)
			p.pushShell("base:1")
			if test.change != nil {
				test.change(p)
			}
			reports := p.run()
			last := reports[len(reports)-1]
			if last.Succeeded || last.Reason != test.reason || last.Message != test.message || last.Digest != "" {
				t.Fatalf("report = %+v\n%s", last, p.log.String())
			}
			if line := last.Log[len(last.Log)-1]; !strings.HasPrefix(line, "error: ") || !strings.Contains(line, test.log) {
				t.Errorf("the last line is %q, want %q", line, test.log)
			}
		})
	}
}

// TestNoOutput: there is an image, and nobody gets it.
func TestNoOutput(t *testing.T) {
	p := newPod(t, "FROM HOST/base:1\n")
	p.pushShell("base:1")
	p.build.Spec.Output.To = nil
	reports := p.run()
	if last := reports[len(reports)-1]; len(reports) != 3 || !last.Succeeded || last.Digest != "" {
		t.Errorf("reports = %+v\n%s", reports, p.log.String())
	}
}

// TestNoCredentialStays: what prepare pulls with is not there when steps run.
func TestNoCredentialStays(t *testing.T) {
	p := newPod(t, "FROM HOST/base:1\nRUN echo x > /x\n")
	p.pushShell("base:1")
	login := p.write("login/.dockercfg", fmt.Sprintf(`{%q:{"username":"u","password":"hunter2"}}`, p.server.Host))
	p.prepare.PullSecretDirs, p.prepare.PushSecretDir = []string{filepath.Dir(login)}, filepath.Dir(login)
	p.succeed()
	for _, dir := range []string{string(p.work()), p.prepare.StorageDir, filepath.Join(p.dir, "handover"), os.TempDir()} {
		err := filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(file)
			if strings.Contains(string(content), "aHVudGVyMg") || strings.Contains(string(content), "hunter2") {
				t.Errorf("%s is left behind", file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestMetadataOfTheSource: of what was cloned, image and steps are told.
func TestMetadataOfTheSource(t *testing.T) {
	p := newPod(t, "")
	p.pushShell("base:1")
	p.build.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceGit, Git: &buildv1.GitBuildSource{URI: "https://u:hunter2@example.com/a", Ref: "main"}, ContextDir: "app"}
	p.write("work/inputs/app/Dockerfile", "FROM "+p.server.Host+"/base:1\n")
	info, err := json.Marshal(gitsource.Info{URI: "https://example.com/a", Ref: "main", Commit: "c0ffee", Author: gitsource.User{Name: "A", Email: "a@b"}, Date: "today", Message: `it's "$1"`})
	if err != nil {
		t.Fatal(err)
	}
	p.write("work/sourceinfo.json", string(info))
	settings := config(t, p.succeed()).Config
	want := map[string]string{
		"commit.author": "A <a@b>", "commit.date": "today", "commit.id": "c0ffee", "commit.message": `it's "$1"`, "commit.ref": "main",
		"name": "b", "namespace": "ns", "source-context-dir": "app", "source-location": "https://example.com/a",
	}
	for key, value := range want {
		if got := settings.Labels["io.openshift.build."+key]; got != value {
			t.Errorf("label %s = %q, want %q", key, got, value)
		}
	}
	env := strings.Join(settings.Env, "\n")
	for _, variable := range []string{"OPENSHIFT_BUILD_SOURCE=https://example.com/a", "OPENSHIFT_BUILD_REFERENCE=main", "OPENSHIFT_BUILD_COMMIT=c0ffee"} {
		if !strings.Contains(env, variable) {
			t.Errorf("environment has no %s:\n%s", variable, env)
		}
	}
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
