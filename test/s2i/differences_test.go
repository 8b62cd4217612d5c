package s2i

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestMeantDifferences holds both sides to what docs/design/0020-source-to-image.md says:
// when the library changes, a row is to be taken out.
func TestMeantDifferences(t *testing.T) {
	says := func(part string) func(*testing.T, result) {
		return func(t *testing.T, r result) {
			t.Helper()
			if r.err != nil || !strings.Contains(r.text, part) {
				t.Errorf("no %q in\n%s\nerror %v", part, r.text, r.err)
			}
		}
	}
	saysNot := func(part string) func(*testing.T, result) {
		return func(t *testing.T, r result) {
			t.Helper()
			if r.err != nil || strings.Contains(r.text, part) {
				t.Errorf("%q is in\n%s\nerror %v", part, r.text, r.err)
			}
		}
	}
	refuses := func(part string) func(*testing.T, result) {
		return func(t *testing.T, r result) {
			t.Helper()
			if r.err == nil || !strings.Contains(r.err.Error(), part) {
				t.Errorf("error = %v, want %q; made\n%s", r.err, part, r.text)
			}
		}
	}
	has := func(line string, want bool) func(*testing.T, result) {
		return func(t *testing.T, r result) {
			t.Helper()
			if r.err != nil || slices.Contains(tree(t, r.dir), line) != want {
				t.Errorf("%q in the context is to be %v, error %v:\n%q", line, want, r.err, tree(t, r.dir))
			}
		}
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		in             input
		published, own func(*testing.T, result)
	}{
		"root": {input{user: "root"}, saysNot("USER"), says("USER root")},
		"a bad line of the environment": {
			input{source: map[string]string{".s2i/environment": "A=1\nsecret\n"}}, says(`ENV A="1"` + "\n"), refuses(".s2i/environment:2:"),
		},
		"a name that is none": {
			input{source: map[string]string{".s2i/environment": "export A=1\n"}}, says(`ENV export A="1"`), refuses(`.s2i/environment:1: "export A"`),
		},
		"a line break in a variable": {
			input{env: [][2]string{{"A", "1\nRUN evil"}}}, says("\nRUN evil"), refuses("line break"),
		},
		"a line break in a label": {
			input{imageLabels: map[string]string{"a": "1\n2"}}, says(`"1\n2"`), refuses("line break"),
		},
		"a variable in a label": {
			input{imageLabels: map[string]string{"a": "$HOME"}}, says(`"a"="$HOME"`), says(`"a"="\$HOME"`),
		},
		"a folder with a space": {
			input{labels: map[string]string{"io.openshift.s2i.scripts-url": "image:///a b"}}, says("RUN /a b/assemble"), says("RUN '/a b/assemble'"),
		},
		"a folder that is not absolute": {
			input{labels: map[string]string{"io.openshift.s2i.scripts-url": "image://usr"}}, says("RUN usr/assemble"), refuses("not absolute"),
		},
		"a script of the build container": {
			input{scripts: "file://" + filepath.Dir(outside)}, refuses("could not download any"), refuses("use http"),
		},
		"a password in the URL of scripts": {
			input{scripts: "http://user:word@HOST/s", served: map[string]string{"/s/assemble": "a"}}, says("user:word"), saysNot("user:word"),
		},
		"a token in the URL of scripts": {
			input{scripts: "http://HOST/s?token=word", served: map[string]string{"/s": "a", "/s/assemble": "a"}}, says("token=word"), saysNot("token=word"),
		},
		"instructions of the builder image": {
			input{onBuild: []string{"USER root"}}, says("FROM"), refuses(`has ONBUILD instructions: "USER root"`),
		},
		"a bad pattern": {
			input{source: map[string]string{".s2iignore": "[\n"}}, says("FROM"), refuses(".s2iignore:1:"),
		},
		"an ignored script": {
			input{source: map[string]string{".s2iignore": ".s2i/bin/run\n", ".s2i/bin/run": "own"}}, has(`-rwxr-xr-x upload/scripts/run ""`, true), has(`-rwxr-xr-x upload/scripts/run ""`, false),
		},
		"a script by a link": {
			input{source: map[string]string{".s2i/bin/run": "->../../run", "run": "own"}}, has("upload/scripts/run -> ../../run", true), has(`-rwxr-xr-x upload/scripts/run "own"`, true),
		},
		"an environment outside of the source": {
			input{source: map[string]string{".s2i/environment": "->" + environmentAt(t)}}, says("SECRET"), refuses("leads out of the source"),
		},
		"removal of a Secret that assemble moved": {
			input{secrets: []injected{{"one", "/s", map[string]string{"key": "1"}}}}, says("rm /s/key"), says("rm -f /s/key"),
		},
		"the kubelet's own files": {
			input{secrets: []injected{{"one", "/s", map[string]string{"key": "1"}}}}, says("rm /s/..2026_11_22/key"), saysNot(".."),
		},
	} {
		t.Run(name, func(t *testing.T) {
			library, own := test.in.complete().both(t)
			test.published(t, library)
			test.own(t, own)
		})
	}
}

// environmentAt is a file of variables beside the source.
func environmentAt(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "environment")
	if err := os.WriteFile(name, []byte("SECRET=1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
