package sourcebuild

import (
	"context"
	"encoding/pem"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

func runGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	command := exec.Command("git", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A. U. Thor", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=C. O. Mitter", "GIT_COMMITTER_EMAIL=c@example.com")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", args, err, output)
	}
	return strings.TrimSpace(string(output))
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

// TestProxyOfTheSource: the nearest one counts.
func TestProxyOfTheSource(t *testing.T) {
	p := newPod(t, "")
	p.write("proxy/httpsProxy", "http://cluster.example.com")
	p.write("proxy/httpProxy", "http://cluster.example.com")
	p.write("proxy/noProxy", ".cluster")
	own := "http://own.example.com"
	p.build.Spec.Source.Git = &buildv1.GitBuildSource{ProxyConfig: buildv1.ProxyConfig{HTTPSProxy: &own}}
	p.build.Spec.Strategy.DockerStrategy.Env = append(p.build.Spec.Strategy.DockerStrategy.Env, env("https_proxy", "http://strategy.example.com"), env("NO_PROXY", ".strategy"))
	got, err := sourceProxy(FetchOptions{Build: p.build, ProxyDir: filepath.Join(p.dir, "proxy")})
	if err != nil || got.HTTPS != own || got.HTTP != "http://cluster.example.com" || got.No != ".strategy" {
		t.Errorf("proxy = %+v, %v", got, err)
	}
}

func env(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }
