//go:build e2e

package sourcebuild

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
)

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

// TestLoginsOfImages: an image with a Secret of its own is read with that, and may be
// named by the Dockerfile, too.
func TestLoginsOfImages(t *testing.T) {
	p := newPod(t, "FROM HOST/content:1\n")
	p.server.Push(t, "content:1", registrytest.Image(t, "amd64", layer(t, file("a", "x", 0o644))))
	p.server.Login(func(_, password string, _ *http.Request) int {
		if password != "hunter2" {
			return http.StatusUnauthorized
		}
		return 0
	})
	p.build.Spec.Output.To = nil
	p.build.Spec.Source.Images = []buildv1.ImageSource{{From: corev1.ObjectReference{Name: p.server.Host + "/content:1"}, Paths: []buildv1.ImageSourcePath{{SourcePath: "/a", DestinationDir: "."}}}}
	if report := Report(Prepare(context.Background(), p.prepare, p.progress())); report.Reason != buildv1.StatusReasonFetchImageContentFailed || !strings.Contains(report.Log[0], "unauthorized") {
		t.Errorf("without a login: %+v", report)
	}
	login := func(name, password string) string {
		return filepath.Dir(p.write(name+"/.dockercfg", fmt.Sprintf(`{%q:{"username":"u","password":%q}}`, p.server.Host, password)))
	}
	p.prepare.ImageSecretDirs[0] = login("image", "hunter2")
	if report := Report(Prepare(context.Background(), p.prepare, p.progress())); !report.Succeeded {
		t.Errorf("with its own login: %+v\n%s", report, p.log.String())
	}
	p.prepare.PullSecretDirs = []string{login("pull", "another")}
	if report := Report(Prepare(context.Background(), p.prepare, p.progress())); report.Reason != buildv1.StatusReasonPullBuilderImageFailed {
		t.Errorf("with another login for the Dockerfile: %+v", report)
	}
}

// TestFetch clones over https, reports the revision, and what is cloned is built.
func TestFetch(t *testing.T) {
	p := newPod(t, "")
	p.pushShell("base:1")
	repositories := t.TempDir()
	work := filepath.Join(repositories, "app")
	runGit(t, "", "init", work)
	p.write("app/Dockerfile", "FROM "+p.server.Host+"/base:1\nCOPY . /src/\n")
	runGit(t, work, "--work-tree="+p.dir, "add", "app")
	runGit(t, work, "commit", "-m", "the message")
	backend := &cgi.Handler{Path: runGit(t, "", "--exec-path") + "/git-http-backend", Env: []string{
		"GIT_PROJECT_ROOT=" + repositories, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}}
	server := httptest.NewTLSServer(backend)
	t.Cleanup(server.Close)
	ca := p.write("git.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	p.build.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceGit, Git: &buildv1.GitBuildSource{URI: server.URL + "/app/.git"}, ContextDir: "app"}
	options := FetchOptions{Build: p.build, WorkDir: p.work(), CAFiles: []string{ca}}
	for range 2 { // a container that starts again finds what it left
		report := Report(Fetch(context.Background(), options, p.progress()))
		commit := runGit(t, work, "rev-parse", "HEAD")
		if !report.Succeeded || report.Revision == nil || report.Revision.Git.Commit != commit || report.Revision.Git.Message != "the message" || report.Revision.Git.Author.Name != "A. U. Thor" {
			t.Fatalf("report = %+v\n%s", report, p.log.String())
		}
		if len(report.Stages) != 1 || report.Stages[0].Name != buildv1.StageFetchInputs || report.Stages[0].DurationMilliseconds == 0 {
			t.Errorf("stages = %+v", report.Stages)
		}
	}
	if got := files(t, p.succeed(), "src/Dockerfile"); len(got) != 1 {
		t.Errorf("files = %q", got)
	}

	p.build.Spec.Source.ContextDir = "none"
	if report := Report(Fetch(context.Background(), options, p.progress())); report.Reason != buildv1.StatusReasonInvalidContextDirectory || report.Message != "The supplied context directory does not exist." {
		t.Errorf("report = %+v", report)
	}
	p.build.Spec.Source.Git.URI = server.URL + "/none"
	report := Report(Fetch(context.Background(), options, p.progress()))
	if report.Reason != buildv1.StatusReasonFetchSourceFailed || report.Message != "Failed to fetch the input source." || !strings.Contains(report.Log[0], "not found") {
		t.Errorf("report = %+v", report)
	}
}
