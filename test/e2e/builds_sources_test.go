//go:build e2e

package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// buildData has Builds as users write them, and what they build.
const buildData = "testdata/builds"

// sources are where Builds take what they build from.
type sources struct {
	git     live.GitServer
	ssh     live.SSHServer
	scripts string
	// commits of the repository app, by branch and tag.
	commits map[string]string
	witness *live.Witness // who knows the key
}

// serveSources makes the repositories, and the Secrets to fetch them with.
func (s *scenario) serveSources() sources {
	s.t.Helper()
	var from sources
	var root string
	root, from.commits = repositories(s.t)
	login := live.Login{User: cluster.Canary.User, Password: cluster.Canary.Password}
	var err error
	from.git, err = cluster.ServeGit(s.ctx, root, login)
	s.must(err)
	s.t.Cleanup(func() { s.must(from.git.Close()) })
	from.ssh, err = cluster.ServeSSH(s.ctx, root)
	s.must(err)
	s.t.Cleanup(func() { s.must(from.ssh.Close()) })
	s.must(cluster.SetSecret(s.ctx, "git-login", corev1.SecretTypeBasicAuth, map[string]string{"username": login.User, "password": login.Password, "ca.crt": from.git.CA}))
	s.must(cluster.SetSecret(s.ctx, "git-key", corev1.SecretTypeSSHAuth, map[string]string{"ssh-privatekey": from.ssh.PrivateKey, "known_hosts": from.ssh.KnownHosts}))

	// The lines before have the public key alone.
	secret := strings.Split(from.ssh.PrivateKey, "\n")[4]
	from.witness = cluster.Witness(s.ctx, live.Login{Password: secret})
	s.t.Cleanup(from.witness.Stop)

	listener, err := cluster.Listen()
	s.must(err)
	server := &http.Server{Handler: http.StripPrefix("/scripts", http.FileServer(http.Dir(filepath.Join(buildData, "scripts"))))}
	go func() { _ = server.Serve(listener) }()
	s.t.Cleanup(func() { s.must(server.Close()) })
	from.scripts = listener.Addr().String()
	return from
}

// repositories makes app, whose folder app has the repository module as a submodule.
func repositories(t *testing.T) (root string, commits map[string]string) {
	t.Helper()
	root, work := t.TempDir(), t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		settings := []string{"-c", "user.name=An Author", "-c", "user.email=author@example.com", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always"}
		return strings.TrimSpace(runProgram(t, "git", append(settings, args...)...))
	}
	commits = map[string]string{}
	for _, name := range []string{"module", "app"} {
		git("init", "--quiet", "--bare", filepath.Join(root, name+".git"))
		git("clone", "--quiet", filepath.Join(root, name+".git"), filepath.Join(work, name))
	}
	app, module := filepath.Join(work, "app"), filepath.Join(work, "module")
	copyFolder(t, filepath.Join(buildData, "module"), module)
	git("-C", module, "add", ".")
	git("-C", module, "commit", "--quiet", "--message", "A module")
	git("-C", module, "push", "--quiet", "origin", "HEAD:main")

	for _, folder := range []string{"app", "site", "scripted"} {
		copyFolder(t, filepath.Join(buildData, folder), filepath.Join(app, folder))
	}
	git("-C", app, "submodule", "--quiet", "add", filepath.Join(root, "module.git"), "app/module")
	git("-C", app, "config", "--file", ".gitmodules", "submodule.app/module.url", "../module.git")
	git("-C", app, "add", ".")
	git("-C", app, "commit", "--quiet", "--message", "The first")
	git("-C", app, "tag", "v1")
	commits["v1"] = git("-C", app, "rev-parse", "HEAD")
	if err := os.WriteFile(filepath.Join(app, "app", "page"), []byte("of the last commit\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	git("-C", app, "commit", "--quiet", "--all", "--message", "The last")
	git("-C", app, "push", "--quiet", "origin", "HEAD:main", "v1")
	commits["main"] = git("-C", app, "rev-parse", "HEAD")
	return root, commits
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// apply applies one of the Builds as a user does, after the hosts of the examples were
// replaced by those of the test.
func (s *scenario) apply(name string, from sources, also ...string) {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(buildData, name+".yaml"))
	s.must(err)
	hosts := append(also,
		"registry.example.com/debian:latest", cluster.PlainImage,
		"registry.example.com", cluster.Registry,
		"https://git.example.com", from.git.URL,
		"git@git.example.com", "git@"+from.ssh.Address,
		"scripts.example.com", from.scripts,
	)
	file := filepath.Join(s.t.TempDir(), name+".yaml")
	s.must(os.WriteFile(file, []byte(strings.NewReplacer(hosts...).Replace(string(text))), 0o600))
	_, err = cluster.Kubectl(s.ctx, "apply", "--filename", file)
	s.must(err)
}

// TestBuildsOfEverySource applies Builds in the form of OpenShift's documentation.
func TestBuildsOfEverySource(t *testing.T) {
	s := newBuildsScenario(t)
	from := s.serveSources()
	plain, err := cluster.OpenImage(cluster.PlainImage)
	s.must(err)
	s.must(cluster.PushImage(cluster.Registry+"/e2e/s2i:builder", builderImage(t, plain)))
	// An image of an earlier run would be one to take artifacts from.
	site := []string{"s2i:site", "s2i:site-" + release}
	for _, name := range []string{"dockerfile", "git", "ssh", "scripted"} {
		s.apply(name, from)
	}
	s.apply("s2i", from, site...)

	s.prove("a Dockerfile in the Build", func(s *scenario) { s.checkInline(plain) })
	s.prove("git over https, with a login, an authority, a tag, a folder and a submodule", func(s *scenario) { s.checkGit(from, plain) })
	s.prove("git over ssh, with a key and a known host", func(s *scenario) { s.checkSSH(from) })
	s.prove("source-to-image", func(s *scenario) {
		s.complete("s2i")
		s.apply("s2i", from, append(site, "name: s2i\n", "name: s2i-again\n")...)
		s.checkSite("s2i-again", plain)
	})
	s.prove("source-to-image with other scripts", func(s *scenario) { s.checkScripted() })
	s.prove("the key is shown nowhere", func(s *scenario) {
		s.must(from.witness.Blobs())
		if found := from.witness.Found(); len(found) > 0 {
			s.t.Errorf("found in %q", found)
		}
	})
}
