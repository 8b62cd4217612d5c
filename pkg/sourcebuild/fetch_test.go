package sourcebuild

import (
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

// TestProxyWithoutScheme: git takes it for one of http.
func TestProxyWithoutScheme(t *testing.T) {
	p := newPod(t, "")
	own := "own.example.com:3128"
	p.build.Spec.Source.Git = &buildv1.GitBuildSource{ProxyConfig: buildv1.ProxyConfig{HTTPSProxy: &own}}
	p.build.Spec.Strategy.DockerStrategy.Env = append(p.build.Spec.Strategy.DockerStrategy.Env, env("http_proxy", "strategy.example.com"))
	got, err := sourceProxy(FetchOptions{Build: p.build})
	if err != nil || got.HTTPS != "http://"+own || got.HTTP != "http://strategy.example.com" {
		t.Errorf("proxy = %+v, %v", got, err)
	}
}

func env(name, value string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: value} }
