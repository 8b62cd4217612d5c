package s2i

import (
	"errors"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

// nasty are texts that mean something to a Dockerfile, a shell or a list.
var nasty = []string{
	"", " ", "two words", "  around  ", `"`, `'`, `\`, `\\`, `\"`, "$HOME", "${HOME:-x}", `\$HOME`, "`id`", "$(id)", "a\tb", "tab at end\t",
	"a=b", "# no comment", "a # b", `end \`, "<<EOF", "<x>", "[\"a\", \"b\"]", "ünïcödé 漢字 🙂", "%s%d", "*?[a]", "a;b|c&d", "~", "!x", "\u00a0", "\ufeff", "\r", "\x1b[31m",
}

// TestValuesComeBack: a builder gets each variable, label and folder as it went in.
func TestValuesComeBack(t *testing.T) {
	for _, value := range nasty {
		t.Run(value, func(t *testing.T) {
			if !comesBack(t, value, "name", value, "dir") {
				t.Error("refused")
			}
			comesBack(t, "value", value, "value", value)
		})
	}
}

// comesBack plans a build with the values, and reads its Dockerfile. It returns false
// for what is refused, which has a reason.
func comesBack(t *testing.T, variable, labelName, labelValue, dir string) bool {
	t.Helper()
	o := plain()
	o.Env = []corev1.EnvVar{{Name: "A", Value: variable}, {Name: "B", Value: "b"}}
	o.Labels = []buildv1.ImageLabel{{Name: "l" + labelName, Value: labelValue}}
	o.Builder.Labels = map[string]string{"io.openshift.s2i.destination": "/d/" + dir, "io.openshift.s2i.scripts-url": "image:///s/" + dir}
	o.Source = fstest.MapFS{".s2i/bin/run": program("run")}
	o.Secrets = []Injection{{Name: "one", Destination: "/i/" + dir, Keys: mounted("key")}}
	o.Previous = "example.com/app:1"
	layout, err := Plan(o)
	var refused *Error
	if errors.As(err, &refused) && refused.Reason != "" && refused.Error() != "" {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	all := read(t, layout.Dockerfile)
	var names []string
	for _, in := range all {
		names = append(names, in.name)
	}
	if want := "FROM USER RUN FROM LABEL ENV COPY COPY COPY COPY USER RUN RUN RUN CMD"; strings.Join(names, " ") != want {
		t.Fatalf("instructions are %q, want %q in\n%s", names, want, layout.Dockerfile)
	}
	if diff := cmp.Diff([][2]string{{"A", variable}, {"B", "b"}}, values(t, all[5])); diff != "" {
		t.Errorf("variables:\n%s", diff)
	}
	destination := path.Clean("/d/" + dir)
	labels := values(t, all[4])
	for _, want := range [][2]string{{"l" + labelName, labelValue}, {"io.openshift.s2i.destination", destination}} {
		if !slices.Contains(labels, want) {
			t.Errorf("labels are %q, without %q", labels, want)
		}
	}
	var targets []string
	for _, in := range named(all, "COPY") {
		if len(in.words) != 2 {
			t.Fatalf("COPY %q", in.words)
		}
		targets = append(targets, in.words[1])
	}
	if diff := cmp.Diff([]string{"/tmp/artifacts.tar", path.Join(destination, "scripts"), path.Join(destination, "src"), path.Clean("/i/" + dir)}, targets); diff != "" {
		t.Errorf("folders:\n%s", diff)
	}
	commands := append(named(all, "RUN")[2:], named(all, "CMD")...)
	for i, want := range []string{path.Join(path.Clean("/s/"+dir), "assemble"), path.Join(path.Clean("/i/"+dir), "key"), path.Join(destination, "scripts", "run")} {
		if got := unquote(strings.TrimPrefix(commands[i].words[0], "rm -f ")); got != want {
			t.Errorf("the shell gets %q, want %q", got, want)
		}
	}
	return true
}

// unquote takes off the single quotes of a POSIX shell's word.
func unquote(word string) string {
	if !strings.HasPrefix(word, "'") {
		return word
	}
	return strings.ReplaceAll(word[1:len(word)-1], `'\''`, "'")
}

// TestShellGetsWords: what stands in RUN is one word for a real shell.
func TestShellGetsWords(t *testing.T) {
	for _, value := range nasty {
		o := plain()
		o.Scripts = "image:///s/" + value
		layout, err := Plan(o)
		if err != nil {
			continue
		}
		t.Run(value, func(t *testing.T) {
			out, err := exec.Command("sh", "-c", "printf %s\\\\n "+named(read(t, layout.Dockerfile), "RUN")[0].words[0]).Output()
			if want := path.Join(path.Clean("/s/"+value), "assemble") + "\n"; err != nil || string(out) != want {
				t.Errorf("printed %q, want %q, %v", out, want, err)
			}
		})
	}
}

// FuzzDockerfile holds that whatever values a build has, its Dockerfile has the same
// instructions, which give these values.
func FuzzDockerfile(f *testing.F) {
	for _, value := range nasty {
		f.Add(value, value, value, value)
		f.Add("v", "l", "w", value)
	}
	f.Fuzz(func(t *testing.T, variable, labelName, labelValue, dir string) {
		comesBack(t, variable, labelName, labelValue, dir)
	})
}
