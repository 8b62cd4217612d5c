package s2i

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

var update = flag.Bool("update", false, "write the golden files")

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o644} }

func program(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o755} }

func link(target string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
}

// mounted is a volume as the kubelet makes it: keys are links into a folder of the moment.
func mounted(keys ...string) fs.FS {
	volume := fstest.MapFS{"..data": link("..2026_11_22_01_02_03.1")}
	for _, key := range keys {
		volume["..2026_11_22_01_02_03.1/"+key] = file("the value of " + key)
		volume[key] = link("..data/" + key)
	}
	return volume
}

// plain are the options of a build with nothing special.
func plain() Options {
	return Options{
		Source:  fstest.MapFS{"index.html": file("<h1>hello</h1>"), "lib/start.sh": program("#!/bin/sh")},
		Builder: Builder{Name: "registry.example.com/builders/static:1", User: "1001"},
	}
}

// goldenCases are changes of plain.
var goldenCases = map[string]func(*Options){
	"first":       func(*Options) {},
	"incremental": func(o *Options) { o.Previous = "registry.example.com/apps/site:latest" },
	"source-scripts": func(o *Options) {
		o.Source = fstest.MapFS{"index.html": file("x"), ".s2i/bin/assemble": file("assemble"), ".s2i/bin/usage": file("usage"), ".sti/bin/run": program("run")}
	},
	"incremental-source-scripts": func(o *Options) {
		o.Source = fstest.MapFS{".s2i/bin/save-artifacts": program("save"), ".s2i/bin/assemble": link("../../build.sh"), "build.sh": program("build")}
		o.Previous = "registry.example.com/apps/site@sha256:" + strings.Repeat("1", 64)
	},
	"fetched-scripts": func(o *Options) {
		o.Scripts = "https://user:word@scripts.example.com/s2i?token=word"
		o.Source = fstest.MapFS{".s2i/bin/assemble": program("of the source"), ".s2i/bin/run": program("of the source")}
		o.Fetched = map[string]Fetched{"assemble": {URL: "https://user:word@scripts.example.com/s2i/assemble?token=word", Content: []byte("fetched")}}
	},
	"image-scripts": func(o *Options) {
		o.Scripts = "image:///opt/scripts/"
		o.Source = fstest.MapFS{".s2i/bin/assemble": program("of the source")}
		o.Builder.Labels = map[string]string{"io.openshift.s2i.scripts-url": "image:///usr/libexec/other"}
	},
	"builder-labels": func(o *Options) {
		o.Builder.User = "default:0"
		o.Builder.From = "registry.example.com/builders/static@sha256:" + strings.Repeat("2", 64)
		o.Builder.Labels = map[string]string{
			"io.openshift.s2i.scripts-url": "image:///usr/local/s2i", "io.s2i.scripts-url": "image:///old",
			"io.openshift.s2i.destination": "/opt/s2i/", "io.openshift.s2i.assemble-user": "185",
		}
		o.Source = fstest.MapFS{".s2i/bin/run": program("run")}
	},
	"builder-labels-deprecated": func(o *Options) {
		o.Builder.Labels = map[string]string{"io.s2i.scripts-url": "image:///old"}
	},
	"nothing-said": func(o *Options) { o.Builder.User = "" },
	"root":         func(o *Options) { o.Builder.User = "root" },
	"injections": func(o *Options) {
		o.Builder.WorkingDir = "/srv/www"
		o.Secrets = []Injection{
			{Name: "npm", Destination: "/opt/npm", Keys: mounted("token", ".npmrc")},
			{Name: "key", Destination: "keys/./", Keys: mounted("id_rsa")},
			{Name: "npm", Keys: mounted("token", ".npmrc")},
			{Name: "none", Destination: ".", Keys: mounted()},
		}
		o.ConfigMaps = []Injection{{Name: "settings", Destination: "conf", Keys: mounted("site.conf")}}
	},
	"ignore": func(o *Options) {
		o.ContextDir = "/site/"
		o.Source = fstest.MapFS{
			"README.md": file("outside"), "site/.s2iignore": file("# what is not needed\n*.md\r\n!README.md\n\nnode_modules/\ndocs/*.txt\n"),
			"site/README.md": file("x"), "site/CHANGES.md": file("x"), "site/docs/a.txt": file("x"), "site/docs/b.md": file("x"), "site/docs/deep/c.txt": file("x"),
			"site/node_modules/one/index.js": file("x"), "site/lib/node_modules/two.js": file("x"), "site/link": link("../README.md"),
		}
	},
	"environment": func(o *Options) {
		o.Source = fstest.MapFS{".s2i/environment": file("# for assemble\nPORT = 8080\nGREETING=say \"hello\", $USER \\o/\n\nA.B-c=\n")}
		o.Env = []corev1.EnvVar{{Name: "OPENSHIFT_BUILD_NAME", Value: "site-1"}, {Name: "PORT", Value: "80"}, {Name: "URL", Value: "http://example.com/?a=b&c='d' "}}
	},
	"labels": func(o *Options) {
		o.Output = "registry.example.com/apps/site:latest"
		o.Labels = []buildv1.ImageLabel{
			{Name: "zone", Value: "z"},
			{Name: "a b", Value: `with "quotes", $HOME and \`},
			{Name: "io.k8s.display-name", Value: "Site"},
			{Name: "io.openshift.build.commit.message", Value: "Grüße"},
			{Name: "zone", Value: ""},
		}
	},
	"spaces": func(o *Options) {
		o.Builder.Labels = map[string]string{"io.openshift.s2i.destination": "/opt/my app", "io.openshift.s2i.scripts-url": "image:///usr/lib/it's"}
		o.Source = fstest.MapFS{"a file": file("x"), ".s2i/bin/run": program("run"), "a dir/ü": file("x")}
		o.Secrets = []Injection{{Name: "npm", Destination: "/etc/$HOME <x>", Keys: mounted("token")}}
		o.Previous = "registry.example.com/apps/site:latest"
	},
}

func build(t *testing.T, change func(*Options)) Layout {
	t.Helper()
	o := plain()
	change(&o)
	layout, err := Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

func TestGolden(t *testing.T) {
	for name, change := range goldenCases {
		t.Run(name, func(t *testing.T) {
			layout := build(t, change)
			golden := filepath.Join("testdata", name+".golden")
			got := layout.Dockerfile + "\n" + listing(t, layout.Files)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("planned:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// TestLayoutCanBeLaidOut: folders come before what is in them, and nothing is laid
// out twice or through a link.
func TestLayoutCanBeLaidOut(t *testing.T) {
	for name, change := range goldenCases {
		t.Run(name, func(t *testing.T) {
			kinds := map[string]fs.FileMode{".": fs.ModeDir}
			for _, f := range build(t, change).Files {
				if kind, found := kinds[filepath.Dir(f.Path)]; !found || kind != fs.ModeDir {
					t.Errorf("%s comes before its folder", f.Path)
				}
				if _, found := kinds[f.Path]; found || !fs.ValidPath(f.Path) {
					t.Errorf("%s comes again, or is no path", f.Path)
				}
				kinds[f.Path] = f.Mode.Type()
			}
		})
	}
}

// listing has a line for each file, with its content.
func listing(t *testing.T, files []File) string {
	t.Helper()
	var out strings.Builder
	for _, f := range files {
		fmt.Fprintf(&out, "%s %s", f.Mode, f.Path)
		switch {
		case f.Mode.IsRegular():
			fmt.Fprintf(&out, ": %q", content(t, f))
		case f.Target != "":
			fmt.Fprintf(&out, " -> %s", f.Target)
		}
		out.WriteString("\n")
	}
	return out.String()
}

func content(t *testing.T, f File) string {
	t.Helper()
	from, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	text, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
