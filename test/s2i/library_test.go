package s2i

import (
	"maps"
	"testing"
)

const static = "registry.example.com/builders/static:1"

// cases are builds of which both sides make the same.
var cases = map[string]input{
	"first":       {},
	"incremental": {previous: "registry.example.com/apps/site:latest"},
	"output":      {output: "registry.example.com/apps/site:latest"},
	"source scripts": {source: map[string]string{
		"index.html": "a", ".s2i/bin/assemble": "a", ".s2i/bin/run": "x run", ".s2i/bin/save-artifacts": "x save", ".s2i/bin/usage": "a",
	}},
	"source scripts, incremental": {previous: "registry.example.com/apps/site:latest", source: map[string]string{
		".s2i/bin/assemble": "a", ".s2i/bin/save-artifacts": "x save",
	}},
	"deprecated folder": {source: map[string]string{".sti/bin/assemble": "a", ".s2i/bin/run": "b"}},
	"fetched scripts":   {scripts: "SERVER/s", served: map[string]string{"/s/assemble": "fetched", "/s/run": "fetched"}, source: map[string]string{".s2i/bin/run": "own", ".s2i/bin/save-artifacts": "own"}},
	"no fetched script": {scripts: "SERVER/s", source: map[string]string{".s2i/bin/run": "own", "a": "a"}},
	"image scripts":     {scripts: "image:///opt/s", source: map[string]string{".s2i/bin/assemble": "own"}, labels: map[string]string{"io.openshift.s2i.scripts-url": "image:///l"}},
	"label":             {labels: map[string]string{"io.openshift.s2i.scripts-url": "image:///l", "io.s2i.scripts-url": "image:///old"}},
	"deprecated label":  {labels: map[string]string{"io.s2i.scripts-url": "image:///old"}, previous: "a"},
	"label of a URL":    {labels: map[string]string{"io.openshift.s2i.scripts-url": "SERVER/l"}, served: map[string]string{"/l/assemble": "label", "/l/run": "label"}, source: map[string]string{".s2i/bin/run": "own"}},
	"label beside URL":  {scripts: "SERVER/s", labels: map[string]string{"io.openshift.s2i.scripts-url": "SERVER/l"}, served: map[string]string{"/s/run": "fetched", "/l/assemble": "label", "/l/run": "label"}},
	"destination":       {labels: map[string]string{"io.openshift.s2i.destination": "/opt/s2i"}, previous: "a", source: map[string]string{".s2i/bin/save-artifacts": "own"}},
	"assemble user":     {labels: map[string]string{"io.openshift.s2i.assemble-user": "185"}, user: "1001"},
	"user with a group": {user: "default:0"},
	"no user":           {user: ""},
	"allowed user":      {user: "1001", allowed: "1-"},
	"forbidden user":    {user: "0", allowed: "1-"},
	"forbidden name":    {user: "default", allowed: "1-"},
	"no builder":        {builder: "-"},
	"environment": {env: [][2]string{{"A", "1"}, {"B", `"$HOME" \ 'x' `}}, source: map[string]string{
		".s2i/environment": "# c\nB=2\nC = a b \r\nD=\n#E=1\nF=x=y\n",
	}},
	"image labels": {imageLabels: map[string]string{"a": "b", "io.openshift.build.image": "c", "quoted": `a "b" \`, "io.k8s.display-name": "ü"}, output: "a/b"},
	"injections": {
		secrets: []injected{{"one", "/opt/one", map[string]string{"token": "1", ".npmrc": "2"}}, {"two", "", map[string]string{"a": "3"}}, {"three", "x/y", map[string]string{"b": "4", "a": "5"}}},
		configs: []injected{{"four", ".", map[string]string{"c": "6"}}, {"five", "/etc/five/", nil}},
	},
	"injections with a working directory": {workingDir: "/srv", secrets: []injected{{"one", ".", map[string]string{"a": "1"}}}, configs: []injected{{"two", "../etc", map[string]string{"a": "1"}}}},
	"links":                               {source: map[string]string{"a/b": "a", "c": "->a", "d": "->a/b", "e": "->/etc/passwd", "f": "->gone"}},
	"context dir":                         {contextDir: "a/b", source: map[string]string{"x": "x", "a/b/c": "c", "a/b/.s2i/bin/run": "r", "a/b/.s2iignore": "d\n", "a/b/d": "d", "a/d": "d"}},
	"no context dir":                      {contextDir: "nothing"},
	"ignore": {source: map[string]string{
		".s2iignore": "# c\n*.md\n!README.md\n  logs/ \nweb/*.js\n!web/a.js\n/top\nnone\n**/deep\n", "README.md": "a", "CHANGES.md": "a", "logs/a": "a", "web/a.js": "a",
		"web/b.js": "a", "web/c/d.js": "a", "top": "a", "sub/top": "a", "sub/deep": "a", "sub/sub/deep": "a", "link.md": "->top",
	}},
	"ignored scripts": {source: map[string]string{".s2iignore": ".s2i\n", ".s2i/bin/assemble": "a", ".s2i/environment": "A=1\n", "a": "a"}},
}

// complete fills in what a case does not say.
func (in input) complete() input {
	if in.source == nil {
		in.source = map[string]string{"index.html": "hello", "lib/start.sh": "x start"}
	}
	switch in.builder {
	case "":
		in.builder = static
	case "-":
		in.builder = ""
	}
	// The library knows no image without labels but one that was not inspected.
	labels := map[string]string{"io.openshift.tags": "static"}
	maps.Copy(labels, in.labels)
	in.labels = labels
	return in
}

func TestLibrary(t *testing.T) {
	for name, in := range cases {
		t.Run(name, func(t *testing.T) { compare(t, in.complete()) })
	}
}
