package sourcebuild

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah/buildahtest"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

const (
	assemble = `#!/bin/sh
set -e
read line < /tmp/src/index.html
echo "$line $GREETING of $OPENSHIFT_BUILD_NAME" > /opt/app/page
if [ -e /tmp/artifacts/cache ]; then cat /tmp/artifacts/cache > /opt/app/cached; fi
cat /opt/secret/token > /opt/app/token
echo artifact > /opt/app/cache
`
	saveArtifacts = "#!/bin/sh\ncd /opt/app && tar -cf - cache\n"
)

// newSourcePod makes the pod of a source strategy with a builder image.
func newSourcePod(t *testing.T) *pod {
	t.Helper()
	p := newPod(t, "")
	p.pushShell("builder:1", layer(t, dir("tmp", 0o1777), dir("opt/app", 0o777), dir("usr/libexec/s2i", 0o755),
		file("usr/libexec/s2i/assemble", assemble, 0o755), file("usr/libexec/s2i/run", "#!/bin/sh\n", 0o755), file("usr/libexec/s2i/save-artifacts", saveArtifacts, 0o755)))
	p.build.Spec.Strategy = buildv1.BuildStrategy{SourceStrategy: &buildv1.SourceBuildStrategy{
		From: corev1.ObjectReference{Kind: "DockerImage", Name: p.server.Host + "/builder:1"}, Env: []corev1.EnvVar{env("GREETING", "hello")},
	}}
	p.build.Spec.Source = buildv1.BuildSource{
		Type:       buildv1.BuildSourceGit,
		Secrets:    []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "s"}, DestinationDir: "/opt/secret"}},
		ConfigMaps: []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "cm"}, DestinationDir: "/opt/settings"}},
	}
	p.prepare.SecretInputs["s"] = p.mounted("s", map[string]string{"token": "hunter2"})
	p.prepare.ConfigMapInputs["cm"] = p.mounted("cm", map[string]string{"kept": "kept"})
	p.write("work/inputs/index.html", "a page\n")
	return p
}

// preparation is Prepare's own, for a part of it.
func (p *pod) preparation() *preparation {
	p.t.Helper()
	clients, err := p.prepare.clients()
	if err != nil {
		p.t.Fatal(err)
	}
	return &preparation{options: p.prepare, clients: clients, progress: p.progress()}
}

// withoutInputs takes all away that a Source strategy can do without.
func withoutInputs(p *pod) {
	p.t.Helper()
	p.build.Spec.Source = buildv1.BuildSource{Type: buildv1.BuildSourceNone}
	if err := os.RemoveAll(p.work().inputs()); err != nil {
		p.t.Fatal(err)
	}
}

// TestSourceOfNothing: a builder image may have all that assemble needs.
func TestSourceOfNothing(t *testing.T) {
	for contextDir, want := range map[string]string{
		"":    "upload d755|upload/src d755",
		"app": "upload d755|upload/src d755",
	} {
		p := newSourcePod(t)
		withoutInputs(p)
		p.build.Spec.Source.ContextDir = contextDir
		prepare := p.preparation()
		if err := prepare.inputs(context.Background(), &buildreport.Report{}); err != nil {
			t.Fatal(err)
		}
		text, _, err := prepare.dockerfile(context.Background(), &buildreport.Report{})
		if err != nil || !strings.Contains(text, "COPY --chown=1001:0 upload/src /tmp/src\n") || !strings.Contains(text, "\nRUN /usr/libexec/s2i/assemble\n") {
			t.Errorf("Dockerfile, %v:\n%s", err, text)
		}
		if got := listing(t, prepare.plan.Context); got != want {
			t.Errorf("context:\n%s\nwant\n%s", got, want)
		}
	}
}

// withTriggers is an image with ONBUILD instructions, and a builder's.
func withTriggers(t *testing.T) v1.Image {
	t.Helper()
	image := registrytest.Image(t, "amd64", layer(t, file("usr/libexec/s2i/assemble", assemble, 0o755)))
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.Config.User, config.Config.OnBuild = "1001", []string{"USER root", "RUN id"}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// TestTriggersOfABuilderImage would run as whom they like.
func TestTriggersOfABuilderImage(t *testing.T) {
	p := newSourcePod(t)
	p.build.Spec.Strategy.SourceStrategy.From.Name = p.server.Push(t, "triggers:1", withTriggers(t))
	report := Report(Prepare(context.Background(), p.prepare, p.progress()))
	if report.Reason != s2i.ReasonGenericFailed || !strings.Contains(report.Message, `/triggers:1" has ONBUILD instructions: "USER root", "RUN id"; they would run before assemble`) {
		t.Errorf("report = %+v", report)
	}
}

// TestBuilderImageIsReadOnce: what was looked at is what is pulled, also where its tag
// moves meanwhile.
func TestBuilderImageIsReadOnce(t *testing.T) {
	buildahtest.Fake(t, "exit 0")
	p := newSourcePod(t)
	p.server.Requests()
	if report := Report(Prepare(context.Background(), p.prepare, p.progress())); !report.Succeeded {
		t.Fatalf("report = %+v", report)
	}
	reads := slices.DeleteFunc(p.server.Requests(), func(request string) bool { return !strings.HasSuffix(request, " /v2/builder/manifests/1") })
	if len(reads) != 1 {
		t.Errorf("its tag is resolved by %q", reads)
	}
}

// TestTriggersOfAPreviousImage would, too: no artifacts are taken of it.
func TestTriggersOfAPreviousImage(t *testing.T) {
	p := newSourcePod(t)
	incremental := true
	p.build.Spec.Strategy.SourceStrategy.Incremental = &incremental
	p.server.Push(t, "out/image:1", withTriggers(t))
	text, _, err := p.preparation().dockerfile(context.Background(), &buildreport.Report{})
	if err != nil || strings.Contains(text, "out/image:1 AS ") || !strings.Contains(p.log.String(), "the previous image cannot be used: it has ONBUILD instructions") {
		t.Errorf("Dockerfile, %v:\n%s\nlog:\n%s", err, text, p.log.String())
	}
}

// TestScriptsThroughAProxy that the strategy names before the cluster's, for hosts that
// only that one reaches.
func TestScriptsThroughAProxy(t *testing.T) {
	scripts := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/s2i/assemble" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, "#!/bin/sh\n# of "+r.Host+"\n")
	})
	plain, encrypted := httptest.NewServer(scripts), httptest.NewTLSServer(scripts)
	t.Cleanup(plain.Close)
	t.Cleanup(encrypted.Close)
	through := newProxy(t, plain, encrypted, "user:hunter2")
	login, wrong := "http://user:hunter2@"+through, "http://127.0.0.1:1"
	for name, test := range map[string]struct {
		scripts, cluster string
		env              []corev1.EnvVar
		want             string // of the script
		err              string
	}{
		"http":               {scripts: "http://scripts.invalid/s2i", env: []corev1.EnvVar{env("http_proxy", login)}, want: "# of scripts.invalid\n"},
		"https":              {scripts: "https://example.com/s2i", env: []corev1.EnvVar{env("HTTPS_PROXY", login)}, want: "# of example.com\n"},
		"no scheme":          {scripts: "http://scripts.invalid/s2i", env: []corev1.EnvVar{env("HTTP_PROXY", "user:hunter2@"+through)}, want: "# of scripts.invalid\n"},
		"the cluster's":      {scripts: "https://example.com/s2i", cluster: login, want: "# of example.com\n"},
		"another":            {scripts: "https://example.com/s2i", cluster: wrong, env: []corev1.EnvVar{env("https_proxy", login)}, want: "# of example.com\n"},
		"the other scheme's": {scripts: "http://scripts.invalid/s2i", cluster: login, env: []corev1.EnvVar{env("https_proxy", wrong)}, want: "# of scripts.invalid\n"},
		"not for this host":  {scripts: "http://scripts.invalid/s2i", env: []corev1.EnvVar{env("http_proxy", login), env("no_proxy", ".invalid")}, err: "scripts.invalid/s2i/assemble: dial tcp"},
		"a wrong login":      {scripts: "https://example.com/s2i", env: []corev1.EnvVar{env("https_proxy", "http://user:hunter3@"+through)}, err: "answers 407 Proxy Authentication Required"},
		"no address":         {scripts: "https://example.com/s2i", env: []corev1.EnvVar{env("https_proxy", "socks5://hunter3@"+through)}, err: "spec.strategy.sourceStrategy.env: the proxy's address has no scheme http or https"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newSourcePod(t)
			p.prepare.CAFiles = append(p.prepare.CAFiles, p.write("scripts.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encrypted.Certificate().Raw}))))
			if test.cluster != "" {
				p.write("proxy/httpProxy", test.cluster)
				p.prepare.ProxyDir = filepath.Dir(p.write("proxy/httpsProxy", test.cluster))
			}
			p.build.Spec.Strategy.SourceStrategy.Scripts, p.build.Spec.Strategy.SourceStrategy.Env = test.scripts, test.env
			_, _, err := p.preparation().dockerfile(context.Background(), &buildreport.Report{})
			if test.err != "" {
				report := Report(buildreport.Report{}, err)
				if err == nil || report.Reason != s2i.ReasonFetchScriptsFailed || !strings.Contains(report.Message, test.err) || strings.Contains(report.Message, "hunter3") {
					t.Errorf("report %+v, want %q", report, test.err)
				}
				return
			}
			got, readErr := os.ReadFile(filepath.Join(p.work().generated(), "upload/scripts/assemble"))
			if err != nil || readErr != nil || string(got) != "#!/bin/sh\n"+test.want {
				t.Errorf("script %q, %v, %v, want %q", got, readErr, err, test.want)
			}
		})
	}
}

// newProxy starts a proxy that wants a login, takes every host for one of two servers,
// and returns its address.
func newProxy(t *testing.T, plain, encrypted *httptest.Server, login string) string {
	t.Helper()
	to, err := url.Parse(plain.URL)
	if err != nil {
		t.Fatal(err)
	}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Host, r.Out.Host = to.Host, r.In.Host }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(login)) {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			forward.ServeHTTP(w, r)
			return
		}
		far, err := net.Dial("tcp", encrypted.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestFilesOfABuilderImage(t *testing.T) {
	p := newPod(t, "")
	below := layer(t, dir("s", 0o755), dir("s/bin", 0o755), file("s/bin/assemble", "x", 0o755), link("l", "s/bin"), dir("o", 0o755), file("o/assemble", "x", 0o755))
	for name, test := range map[string]struct {
		file  string
		above []tar.Header
		want  bool
	}{
		"below":                 {"/s/bin/assemble", []tar.Header{file("other", "x", 0o644)}, true},
		"on top":                {"/t/assemble", []tar.Header{dir("t", 0o755), file("t/assemble", "x", 0o755)}, true},
		"a hard link":           {"/h", []tar.Header{file("a", "x", 0o644), hard("h", "a")}, true},
		"through a link":        {"/l/assemble", []tar.Header{file("other", "x", 0o644)}, true},
		"nowhere":               {"/s/assemble", []tar.Header{file("other", "x", 0o644)}, false},
		"a folder":              {"/s/bin", []tar.Header{file("other", "x", 0o644)}, false},
		"taken away":            {"/s/bin/assemble", []tar.Header{file("s/bin/.wh.assemble", "", 0)}, false},
		"its folder taken away": {"/s/bin/assemble", []tar.Header{file("s/.wh.bin", "", 0)}, false},
		"hidden":                {"/o/assemble", []tar.Header{file("o/.wh..wh..opq", "", 0)}, false},
		"a folder for a link":   {"/o/assemble", []tar.Header{link("o", "s/bin")}, true},
		"a link to nowhere":     {"/o/assemble", []tar.Header{link("o", "none")}, false},
	} {
		t.Run(name, func(t *testing.T) {
			p.server.Push(t, "files:1", registrytest.Image(t, "amd64", below, layer(t, test.above...)))
			prepare := p.preparation()
			opened, err := prepare.open(context.Background(), p.server.Host+"/files:1")
			if err != nil {
				t.Fatal(err)
			}
			if got := prepare.hasFile(context.Background(), opened.image, test.file); got != test.want {
				t.Errorf("%s is there: %t", test.file, got)
			}
		})
	}
}
