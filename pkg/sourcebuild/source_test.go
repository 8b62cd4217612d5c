package sourcebuild

import (
	"archive/tar"
	"context"
	"os"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry/registrytest"
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
		clients, err := p.prepare.clients()
		if err != nil {
			t.Fatal(err)
		}
		prepare := &preparation{options: p.prepare, clients: clients, progress: p.progress()}
		if err := prepare.inputs(context.Background(), &buildreport.Report{}); err != nil {
			t.Fatal(err)
		}
		text, _, err := prepare.dockerfile(context.Background())
		if err != nil || !strings.Contains(text, "COPY --chown=1001:0 upload/src /tmp/src\n") || !strings.Contains(text, "\nRUN /usr/libexec/s2i/assemble\n") {
			t.Errorf("Dockerfile, %v:\n%s", err, text)
		}
		if got := listing(t, prepare.plan.Context); got != want {
			t.Errorf("context:\n%s\nwant\n%s", got, want)
		}
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
