package s2i

import (
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	libapi "github.com/openshift/source-to-image/pkg/api"
	"github.com/openshift/source-to-image/pkg/build/strategies/dockerfile"
	"github.com/openshift/source-to-image/pkg/scm/git"
	libfs "github.com/openshift/source-to-image/pkg/util/fs"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

// input is one build, for both sides.
type input struct {
	// source are files by path: their text, "->" and a target for a link, or "x" and
	// a text for a program.
	source     map[string]string
	contextDir string
	builder    string
	labels     map[string]string // of the builder image
	user       string
	workingDir string
	onBuild    []string // of the builder image
	// scripts is strategy.scripts; SERVER in it, and in the builder's labels, stands
	// for a server that has served.
	scripts          string
	served           map[string]string
	previous         string
	output           string
	env              [][2]string
	imageLabels      map[string]string
	secrets, configs []injected
	allowed          string
}

// injected is a Secret or ConfigMap.
type injected struct {
	name, destination string
	keys              map[string]string
}

// result is what one side makes of an input: a Dockerfile and the folder of its context.
type result struct {
	text, dir string
	err       error
}

// place writes the input's folders and starts its server.
func (in input) place(t testing.TB) (source string, volumes map[string]string, replace *strings.Replacer) {
	t.Helper()
	source = t.TempDir()
	for name, text := range in.source {
		write(t, filepath.Join(source, name), text)
	}
	volumes = map[string]string{}
	for _, i := range append(append([]injected(nil), in.secrets...), in.configs...) {
		dir := t.TempDir()
		// As the kubelet does it.
		write(t, filepath.Join(dir, "..data"), "->..2026_11_22")
		if err := os.MkdirAll(filepath.Join(dir, "..2026_11_22"), 0o755); err != nil {
			t.Fatal(err)
		}
		for key, text := range i.keys {
			write(t, filepath.Join(dir, "..2026_11_22", key), text)
			write(t, filepath.Join(dir, key), "->..data/"+key)
		}
		volumes[i.name] = dir
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, found := in.served[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(text))
	}))
	t.Cleanup(server.Close)
	return source, volumes, strings.NewReplacer("SERVER", server.URL, "HOST", strings.TrimPrefix(server.URL, "http://"))
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	switch {
	case strings.HasPrefix(text, "->"):
		err = os.Symlink(strings.TrimPrefix(text, "->"), name)
	case strings.HasPrefix(text, "x"):
		err = os.WriteFile(name, []byte(text), 0o755)
	default:
		err = os.WriteFile(name, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func replaced(labels map[string]string, replace *strings.Replacer) map[string]string {
	out := map[string]string{}
	for name, value := range labels {
		out[name] = replace.Replace(value)
	}
	return out
}

// both gives an input to both sides.
func (in input) both(t testing.TB) (library, own result) {
	t.Helper()
	source, volumes, replace := in.place(t)
	return in.published(t, source, volumes, replace), in.own(t, source, volumes, replace)
}

// published is what OpenShift does: its build container fills the configuration so.
func (in input) published(t testing.TB, source string, volumes map[string]string, replace *strings.Replacer) result {
	t.Helper()
	dir := t.TempDir()
	config := &libapi.Config{
		BuilderImage: in.builder, BuilderImageLabels: replaced(in.labels, replace), ScriptsURL: replace.Replace(in.scripts),
		Tag: in.output, LabelNamespace: "io.openshift.", Labels: in.imageLabels, ImageWorkDir: in.workingDir,
		Incremental: in.previous != "", IncrementalFromTag: in.previous,
		Source: git.MustParse(source), ForceCopy: true, KeepSymlinks: true, ContextDir: in.contextDir,
		Destination: in.labels["io.openshift.s2i.destination"], AsDockerfile: filepath.Join(dir, "Dockerfile"),
		BlockOnBuild: true, HasOnBuild: len(in.onBuild) > 0,
	}
	config.AssembleUser = in.labels["io.openshift.s2i.assemble-user"]
	if config.AssembleUser == "" {
		config.AssembleUser = in.user
	}
	config.AssembleUser, _, _ = strings.Cut(config.AssembleUser, ":")
	if err := config.AllowedUIDs.Set(in.allowed); err != nil {
		t.Fatal(err)
	}
	for _, pair := range in.env {
		config.Environment = append(config.Environment, libapi.EnvironmentSpec{Name: pair[0], Value: pair[1]})
	}
	for _, i := range in.secrets {
		config.Injections = append(config.Injections, libapi.VolumeSpec{Source: volumes[i.name], Destination: i.destination})
	}
	for _, i := range in.configs {
		config.Injections = append(config.Injections, libapi.VolumeSpec{Source: volumes[i.name], Destination: i.destination, Keep: true})
	}
	builder, err := dockerfile.New(config, libfs.NewFileSystem())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := builder.Build(config); err != nil {
		return result{err: err}
	}
	text, err := os.ReadFile(config.AsDockerfile)
	if err != nil {
		t.Fatal(err)
	}
	return result{text: string(text), dir: dir}
}

// own is what a caller of pkg/s2i does.
func (in input) own(t testing.TB, source string, volumes map[string]string, replace *strings.Replacer) result {
	t.Helper()
	o := s2i.Options{
		Source: os.DirFS(source), ContextDir: in.contextDir, Scripts: replace.Replace(in.scripts), Previous: in.previous, Output: in.output,
		Builder: s2i.Builder{Name: in.builder, Labels: replaced(in.labels, replace), User: in.user, WorkingDir: in.workingDir, OnBuild: in.onBuild},
	}
	var err error
	if o.AllowedUIDs, err = s2i.ParseUIDs(in.allowed); err != nil {
		t.Fatal(err)
	}
	for _, pair := range in.env {
		o.Env = append(o.Env, corev1.EnvVar{Name: pair[0], Value: pair[1]})
	}
	for name, value := range in.imageLabels {
		o.Labels = append(o.Labels, buildv1.ImageLabel{Name: name, Value: value})
	}
	for _, i := range in.secrets {
		o.Secrets = append(o.Secrets, s2i.Injection{Name: i.name, Destination: i.destination, Keys: os.DirFS(volumes[i.name])})
	}
	for _, i := range in.configs {
		o.ConfigMaps = append(o.ConfigMaps, s2i.Injection{Name: i.name, Destination: i.destination, Keys: os.DirFS(volumes[i.name])})
	}
	downloads, err := s2i.Downloads(o)
	if err != nil {
		return result{err: err}
	}
	o.Fetched = map[string]s2i.Fetched{}
	for _, d := range downloads {
		for _, url := range d.URLs {
			if text, found := fetch(t, url); found {
				o.Fetched[d.Script] = s2i.Fetched{URL: url, Content: text}
				break
			}
		}
	}
	layout, err := s2i.Plan(o)
	if err != nil {
		return result{err: err}
	}
	return result{text: layout.Dockerfile, dir: layOut(t, layout.Files)}
}

// fetch asks the input's server.
func fetch(t testing.TB, url string) ([]byte, bool) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return text, response.StatusCode == http.StatusOK
}

// layOut writes the files of a context.
func layOut(t testing.TB, files []s2i.File) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range files {
		name := filepath.Join(dir, f.Path)
		var err error
		switch f.Mode.Type() {
		case fs.ModeDir:
			err = os.Mkdir(name, f.Mode.Perm())
		case fs.ModeSymlink:
			err = os.Symlink(f.Target, name)
		default:
			err = os.WriteFile(name, readAll(t, f), f.Mode.Perm())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
