package sourcebuild

import (
	"archive/tar"
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

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

// TestSourceStrategy: a first build, and one that takes artifacts of it.
func TestSourceStrategy(t *testing.T) {
	p := newSourcePod(t)
	incremental := true
	p.build.Spec.Strategy.SourceStrategy.Incremental = &incremental
	p.build.Spec.PostCommit.Script = "echo 'the hook ran as' $(cat /opt/app/page)"
	p.build.Spec.Output.ImageLabels = []buildv1.ImageLabel{{Name: "l", Value: "v"}}
	image := p.succeed()
	got := files(t, image, "opt/")
	if got["opt/app/page"] != "a page hello of b\n" || got["opt/app/cached"] != "" || got["opt/settings/kept"] != "kept" || got["opt/app/token"] != "hunter2" {
		t.Errorf("files = %q", got)
	}
	if _, found := got["opt/secret/token"]; found {
		t.Error("the Secret is in the image")
	}
	settings := config(t, image).Config
	if settings.User != "1001" || settings.Labels["l"] != "v" || settings.Labels["io.openshift.build.name"] != "b" || !strings.Contains(strings.Join(settings.Cmd, " "), "/usr/libexec/s2i/run") {
		t.Errorf("config = %+v", settings)
	}
	if !strings.Contains(p.log.String(), "there is no previous image") || !strings.Contains(p.log.String(), "the hook ran as a page hello of b") {
		t.Errorf("log:\n%s", p.log.String())
	}
	if got := files(t, p.succeed(), "opt/app/cached"); got["opt/app/cached"] != "artifact\n" {
		t.Errorf("the second build has %q\n%s", got, p.log.String())
	}
}

// TestScriptsOfAnotherPlace are fetched, and go before those of the image.
func TestScriptsOfAnotherPlace(t *testing.T) {
	p := newSourcePod(t)
	answer := http.StatusNotFound
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/scripts/assemble" {
			w.WriteHeader(answer)
			return
		}
		_, _ = w.Write([]byte("#!/bin/sh\necho fetched > /opt/app/page\n"))
	}))
	t.Cleanup(server.Close)
	p.prepare.CAFiles = append(p.prepare.CAFiles, p.write("scripts.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))))
	p.build.Spec.Strategy.SourceStrategy.Scripts = server.URL + "/scripts"
	if got := files(t, p.succeed(), "opt/app/page"); got["opt/app/page"] != "fetched\n" {
		t.Errorf("files = %q", got)
	}
	answer = http.StatusForbidden
	reports := p.run()
	if last := reports[len(reports)-1]; last.Reason != s2i.ReasonFetchScriptsFailed || !strings.Contains(last.Message, "fetching script run: "+server.URL+"/scripts/run answers 403") {
		t.Errorf("report = %+v", last)
	}
}

func TestSourceStrategyFailures(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*pod)
		reason  buildv1.StatusReason
		message string
		log     string
	}{
		"assemble": {
			func(p *pod) { p.write("work/inputs/.s2i/bin/assemble", "#!/bin/sh\nexit 5\n") },
			buildv1.StatusReasonGenericBuildFailed, "Generic Build failure - check logs for details.", "failed with exit code 5: RUN",
		},
		"no builder": {
			func(p *pod) { p.build.Spec.Strategy.SourceStrategy.From.Name = p.server.Host + "/none:1" },
			buildv1.StatusReasonPullBuilderImageFailed, "Failed pulling builder image.", "none:1: not found",
		},
		"no assemble": {
			func(p *pod) {
				p.pushShell("bare:1")
				p.build.Spec.Strategy.SourceStrategy.From.Name = p.server.Host + "/bare:1"
			},
			"", "", "/usr/libexec/s2i/assemble",
		},
		"environment": {
			func(p *pod) { p.write("work/inputs/.s2i/environment", "A=b\nbad\n") },
			s2i.ReasonDockerfileCreationFailed, "", ".s2i/environment:2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newSourcePod(t)
			test.change(p)
			reports := p.run()
			last := reports[len(reports)-1]
			if last.Succeeded || len(reports) > 1 && name != "assemble" || test.reason != "" && last.Reason != test.reason || test.message != "" && last.Message != test.message || !strings.Contains(last.Log[len(last.Log)-1], test.log) {
				t.Errorf("report = %+v\n%s", last, p.log.String())
			}
		})
	}
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
			clients, err := p.prepare.clients()
			if err != nil {
				t.Fatal(err)
			}
			prepare := &preparation{options: p.prepare, clients: clients, progress: p.progress()}
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
