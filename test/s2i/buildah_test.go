//go:build e2e

package s2i

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

const (
	builderImage = "localhost/builder:1"
	appImage     = "localhost/app:latest"
)

// scriptsOf are those of a builder image for static files. Artifacts are a line for
// each build.
var scriptsOf = map[string]string{
	"assemble": `#!/bin/sh
set -e
id -u > /opt/app/user
cat "/etc/my app/\$1/token" > /dev/null
cat "/etc/my app/\$1/token" | cksum > /opt/app/token.sum
cp -R "/opt/s2i dir/src" /opt/app/site
if [ -f "/opt/s2i dir/artifacts/builds" ]; then cp "/opt/s2i dir/artifacts/builds" /opt/app/builds; fi
echo "$GREETING" >> /opt/app/builds
`,
	"run":            "#!/bin/sh\nexec cat /opt/app/builds\n",
	"save-artifacts": "#!/bin/sh\ncd /opt/app && tar -cf - builds\n",
}

// nasty are values that mean something to a Dockerfile or a shell.
var nasty = []string{
	"", " ", "  two  words  ", `"`, `'`, `\`, `\\`, `\"`, `end \`, "$HOME", "${HOME:-x}", `\$HOME`, "`id`", "$(id)", "tab\t", "a=b", "# x", "<<EOF",
	`["a", "b"]`, "ü漢🙂", "%s", "*?[a]", "a;b|c&d", "~", "\u00a0", "\ufeff", "\r", "\x1b[31m",
}

// store is a storage of buildah.
type store struct{ root, run string }

func (s store) do(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.Command("buildah", append([]string{"--root", s.root, "--runroot", s.run, "--storage-driver", "vfs"}, args...)...)
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("buildah %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// build makes an image of a Dockerfile and a folder, as a Build's pod does.
func (s store) build(t *testing.T, image, text, context string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.do(t, "build", "--isolation", "chroot", "--layers=false", "--pull=never", "--network=host", "-t", image, "-f", name, context)
}

// mount returns the folder of an image's files.
func (s store) mount(t *testing.T, image string) string {
	t.Helper()
	container := strings.TrimSpace(s.do(t, "from", "--pull=never", image))
	t.Cleanup(func() { s.do(t, "rm", container) })
	return strings.TrimSpace(s.do(t, "mount", container))
}

// makeBuilder makes a builder image of this machine's shell and tools.
func (s store) makeBuilder(t *testing.T) {
	t.Helper()
	root := t.TempDir()
	library := regexp.MustCompile(`(/\S+)\s+\(0x`)
	for _, program := range []string{"sh", "tar", "cat", "cp", "mkdir", "rm", "touch", "id", "cksum"} {
		found, err := exec.LookPath(program)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("ldd", found).Output()
		if err != nil {
			t.Fatalf("ldd %s: %v", found, err)
		}
		files := []string{found}
		for _, match := range library.FindAllStringSubmatch(string(out), -1) {
			files = append(files, match[1])
		}
		for _, name := range files {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			put(t, root, strings.Replace(name, "/usr/bin/", "/bin/", 1), string(content), 0o755)
		}
	}
	for name, text := range scriptsOf {
		put(t, root, "/usr/libexec/s2i/"+name, text, 0o755)
	}
	put(t, root, "/etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1001:0::/opt/app:/bin/sh\n", 0o644)
	text := `FROM scratch
COPY . /
COPY --chown=1001:0 etc/passwd /opt/app/passwd
RUN mkdir -m 1777 /tmp
ENV PATH=/bin
WORKDIR /opt/app
USER 1001
`
	if err := os.MkdirAll(filepath.Join(root, "opt"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.build(t, builderImage, text, root)
}

func put(t *testing.T, root, name, text string, mode os.FileMode) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestBuildah builds what is planned with the real buildah, twice: the second build
// finds what the first left. Needs root.
func TestBuildah(t *testing.T) {
	s := store{t.TempDir(), t.TempDir()}
	s.makeBuilder(t)
	o := s2i.Options{
		Source: fstest.MapFS{
			"a page.html": {Data: []byte("page"), Mode: 0o644}, "link": {Data: []byte("a page.html"), Mode: os.ModeSymlink | 0o777},
			".s2iignore": {Data: []byte("*.md\n"), Mode: 0o644}, "README.md": {Data: []byte("no"), Mode: 0o644},
			".s2i/environment": {Data: []byte("GREETING=overridden\nFROM_SOURCE=it's \"$PATH\" \\\n"), Mode: 0o644},
		},
		Builder: s2i.Builder{Name: builderImage, User: "1001", WorkingDir: "/opt/app", Labels: map[string]string{"io.openshift.s2i.destination": "/opt/s2i dir"}},
		Output:  "registry.example.com/app:latest",
		Secrets: []s2i.Injection{
			{Name: "login", Destination: "/etc/my app/$1", Keys: fstest.MapFS{"token": {Data: []byte("hunter2"), Mode: 0o600}}},
			{Name: "none", Destination: "/etc/none", Keys: fstest.MapFS{}},
		},
		ConfigMaps: []s2i.Injection{{Name: "conf", Destination: "conf", Keys: fstest.MapFS{"site.conf": {Data: []byte("kept"), Mode: 0o644}}}},
	}
	for i, value := range nasty {
		o.Labels = append(o.Labels, buildv1.ImageLabel{Name: fmt.Sprintf("nasty %d", i), Value: value})
	}
	want := ""
	for _, greeting := range []string{"first $HOME", "second"} {
		o.Env = []corev1.EnvVar{{Name: "GREETING", Value: greeting}}
		for i, value := range nasty {
			o.Env = append(o.Env, corev1.EnvVar{Name: fmt.Sprintf("NASTY_%d", i), Value: value})
		}
		layout, err := s2i.Plan(o)
		if err != nil {
			t.Fatal(err)
		}
		s.build(t, appImage, layout.Dockerfile, layOut(t, layout.Files))
		want += greeting + "\n"
		s.check(t, want)
		o.Previous = appImage
	}
}

// check looks into the image: what is there, and that no Secret is.
func (s store) check(t *testing.T, builds string) {
	t.Helper()
	root := s.mount(t, appImage)
	for name, want := range map[string]string{
		"opt/app/builds": builds, "opt/app/user": "1001\n", "opt/app/site/a page.html": "page", "opt/app/site/link": "page", "opt/app/conf/site.conf": "kept",
	} {
		if got, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, want %q, %v", name, got, want, err)
		}
	}
	for _, name := range []string{"etc/my app/$1/token", "opt/app/site/README.md", "tmp/artifacts.tar"} {
		if _, err := os.Lstat(filepath.Join(root, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	if out, err := exec.Command("grep", "-rlF", "hunter2", s.root).Output(); err == nil {
		t.Errorf("the Secret is in the storage:\n%s", out)
	}
	var inspected struct {
		OCIv1 struct {
			Config struct {
				User     string
				Env, Cmd []string
				Labels   map[string]string
			} `json:"config"`
		}
	}
	if err := json.Unmarshal([]byte(s.do(t, "inspect", "--type", "image", appImage)), &inspected); err != nil {
		t.Fatal(err)
	}
	config := inspected.OCIv1.Config
	if !slices.Contains(config.Env, `FROM_SOURCE=it's "$PATH" \`) || !slices.Equal(config.Cmd, []string{"/bin/sh", "-c", "/usr/libexec/s2i/run"}) ||
		config.User != "1001" || config.Labels["io.openshift.s2i.destination"] != "/opt/s2i dir" {
		t.Errorf("config = %+v", config)
	}
	for i, value := range nasty {
		if got := config.Labels[fmt.Sprintf("nasty %d", i)]; got != value {
			t.Errorf("label %q came as %q", value, got)
		}
		if !slices.Contains(config.Env, fmt.Sprintf("NASTY_%d=%s", i, value)) {
			t.Errorf("variable %q did not come: %q", value, config.Env)
		}
	}
}
