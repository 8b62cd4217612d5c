package s2i

import (
	"path"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const (
	ofStrategy = "https://strategy.example.com/s/"
	ofLabel    = "http://label.example.com/l?ref=1"
)

func TestDownloads(t *testing.T) {
	all := func(urls func(script string) []string) (out []Download) {
		for _, name := range []string{"assemble", "run", "save-artifacts"} {
			out = append(out, Download{Script: name, URLs: urls(name)})
		}
		return out
	}
	strategy := func(name string) string { return "https://strategy.example.com/s/" + name }
	label := func(name string) string { return "http://label.example.com/l/" + name + "?ref=1" }
	for name, test := range map[string]struct {
		scripts, label string
		source         fstest.MapFS
		want           []Download
	}{
		"nothing":                {},
		"strategy":               {scripts: ofStrategy, want: all(func(n string) []string { return []string{strategy(n)} })},
		"label":                  {label: ofLabel, want: all(func(n string) []string { return []string{label(n)} })},
		"both":                   {scripts: ofStrategy, label: ofLabel, want: all(func(n string) []string { return []string{strategy(n), label(n)} })},
		"of an image":            {scripts: "image:///s", label: ofLabel},
		"label of an image":      {scripts: ofStrategy, label: "image:///s", want: all(func(n string) []string { return []string{strategy(n)} })},
		"the source goes before": {label: ofLabel, source: fstest.MapFS{".s2i/bin/assemble": file(""), ".sti/bin/run": file("")}, want: []Download{{Script: "save-artifacts", URLs: []string{label("save-artifacts")}}}},
		"strategy before source": {scripts: ofStrategy, source: fstest.MapFS{".s2i/bin/assemble": file("")}, want: all(func(n string) []string { return []string{strategy(n)} })},
		"what is ignored is not": {label: ofLabel, source: fstest.MapFS{".s2i/bin/assemble": file(""), ".s2iignore": file(".s2i/bin\n")}, want: all(func(n string) []string { return []string{label(n)} })},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain()
			o.Scripts, o.Builder.Labels = test.scripts, map[string]string{"io.openshift.s2i.scripts-url": test.label}
			if test.source != nil {
				o.Source = test.source
			}
			got, err := Downloads(o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("downloads:\n%s", diff)
			}
		})
	}
}

// TestWhichScript: strategy, source, label, image, in this order and for each script.
func TestWhichScript(t *testing.T) {
	inSource := fstest.MapFS{".s2i/bin/assemble": file("source")}
	fetched := map[string]Fetched{"strategy": {URL: "https://strategy.example.com/s/assemble", Content: []byte("strategy")}, "label": {URL: "http://label.example.com/l/assemble?ref=1", Content: []byte("label")}}
	for name, test := range map[string]struct {
		scripts, fetched string
		source           fstest.MapFS
		want, command    string
	}{
		"strategy":            {scripts: ofStrategy, fetched: "strategy", source: inSource, want: "strategy", command: "/tmp/scripts/assemble"},
		"source":              {fetched: "label", source: inSource, want: "source", command: "/tmp/scripts/assemble"},
		"label":               {fetched: "label", source: fstest.MapFS{}, want: "label", command: "/tmp/scripts/assemble"},
		"image":               {source: fstest.MapFS{}, command: "/usr/libexec/s2i/assemble"},
		"image of strategy":   {scripts: "image:///i", source: inSource, command: "/i/assemble"},
		"an ignored is not":   {source: fstest.MapFS{".s2i/bin/assemble": file(""), ".s2iignore": file(".s2i\n")}, command: "/usr/libexec/s2i/assemble"},
		"a dangling is not":   {source: fstest.MapFS{".s2i/bin/assemble": link("gone")}, command: "/usr/libexec/s2i/assemble"},
		"deprecated folder":   {source: fstest.MapFS{".sti/bin/assemble": file("old")}, want: "old", command: "/tmp/scripts/assemble"},
		"the folder is newer": {source: fstest.MapFS{".sti/bin/assemble": file("old"), ".s2i/bin/assemble": file("new")}, want: "new", command: "/tmp/scripts/assemble"},
	} {
		t.Run(name, func(t *testing.T) {
			o := plain()
			o.Scripts, o.Source = test.scripts, test.source
			o.Builder.Labels = map[string]string{"io.openshift.s2i.scripts-url": ofLabel}
			if f, found := fetched[test.fetched]; found {
				o.Fetched = map[string]Fetched{"assemble": f}
			}
			layout, err := Plan(o)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, f := range layout.Files {
				if path.Dir(f.Path) == "upload/scripts" && f.Mode == 0o755 {
					got = content(t, f)
				}
			}
			if command := named(read(t, layout.Dockerfile), "RUN")[0].words[0]; got != test.want || command != test.command {
				t.Errorf("%q is laid out and %q run, want %q and %q", got, command, test.want, test.command)
			}
		})
	}
}
