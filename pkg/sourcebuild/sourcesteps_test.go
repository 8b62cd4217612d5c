//go:build e2e

package sourcebuild

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

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

// emptyStore is what the next Build's pod begins with.
func (p *pod) emptyStore() {
	p.t.Helper()
	p.unmount()
	if err := errors.Join(os.RemoveAll(p.prepare.StorageDir), os.Mkdir(p.prepare.StorageDir, 0o700)); err != nil {
		p.t.Fatal(err)
	}
}

// TestDamagedPreviousImage: without a layer of it, the build is like a first one, and
// the next one takes artifacts again.
func TestDamagedPreviousImage(t *testing.T) {
	p := newSourcePod(t)
	incremental := true
	p.build.Spec.Strategy.SourceStrategy.Incremental = &incremental
	layers, err := p.succeed().Layers()
	if err != nil {
		t.Fatal(err)
	}
	lost, err := layers[len(layers)-1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	p.server.Fault(func(r *http.Request) (int, bool) {
		return http.StatusNotFound, r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/out/image/blobs/"+lost.String())
	})
	p.emptyStore()
	p.log.Reset()
	image := p.succeed()
	p.server.Fault(nil)
	if got := files(t, image, "opt/app/"); got["opt/app/page"] != "a page hello of b\n" || got["opt/app/cached"] != "" {
		t.Errorf("files = %q", got)
	}
	if log := p.log.String(); !strings.Contains(log, "the previous image cannot be pulled, so this build takes no artifacts: ") || strings.Contains(log, " AS cached") {
		t.Errorf("log:\n%s", log)
	}
	p.emptyStore()
	reports := p.run()
	if got := files(t, p.server.Pull(t, p.build.Spec.Output.To.Name, "amd64"), "opt/app/cached"); got["opt/app/cached"] != "artifact\n" {
		t.Errorf("the third build has %q\n%s", got, p.log.String())
	}
	if steps := reports[0].Stages[0].Steps; len(steps) != 2 || steps[0].Name != buildv1.StepPullInputImage || steps[1].Name != buildv1.StepPullBaseImage {
		t.Errorf("steps = %+v", steps)
	}
}

// TestSourceOfNothingIsBuilt by what the builder image and a Secret have.
func TestSourceOfNothingIsBuilt(t *testing.T) {
	p := newSourcePod(t)
	p.pushShell("whole:1", layer(t, dir("tmp", 0o1777), dir("opt/app", 0o777), dir("usr/libexec/s2i", 0o755),
		file("usr/libexec/s2i/assemble", "#!/bin/sh\nls /tmp/src > /opt/app/seen\nread line < /opt/secret/token\necho $line > /opt/app/token\n", 0o755)))
	p.build.Spec.Strategy.SourceStrategy.From.Name = p.server.Host + "/whole:1"
	secrets := p.build.Spec.Source.Secrets
	withoutInputs(p)
	p.build.Spec.Source.Secrets = secrets
	got := files(t, p.succeed(), "opt/app/")
	if len(got) != 2 || got["opt/app/seen"] != "" || got["opt/app/token"] != "hunter2\n" {
		t.Errorf("files = %q", got)
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
		message string // a part of it
		log     string // a part of its last line
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
			s2i.ReasonFetchScriptsFailed, "has no /usr/libexec/s2i/assemble; set spec.strategy.sourceStrategy.scripts", "/bare:1\" has no /usr/libexec/s2i/assemble",
		},
		"environment": {
			func(p *pod) { p.write("work/inputs/.s2i/environment", "A=b\nbad\n") },
			s2i.ReasonDockerfileCreationFailed, ".s2i/environment:2: ", ".s2i/environment:2: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newSourcePod(t)
			test.change(p)
			reports := p.run()
			last := reports[len(reports)-1]
			if last.Succeeded || len(reports) > 1 && name != "assemble" || last.Reason != test.reason || !strings.Contains(last.Message, test.message) || !strings.Contains(last.Log[len(last.Log)-1], test.log) {
				t.Errorf("report = %+v\n%s", last, p.log.String())
			}
		})
	}
}
