package s2i

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestEnvironment(t *testing.T) {
	variables := func(pairs ...string) (out []corev1.EnvVar) {
		for i := 0; i < len(pairs); i += 2 {
			out = append(out, corev1.EnvVar{Name: pairs[i], Value: pairs[i+1]})
		}
		return out
	}
	for name, test := range map[string]struct {
		text string
		want []corev1.EnvVar
		err  string
	}{
		"nothing":           {},
		"comments":          {text: "# A=1\n  # B=2\n\n \t\n"},
		"pairs":             {text: "A=1\nB=2", want: variables("A", "1", "B", "2")},
		"white space":       {text: " A = 1 \r\n\tB=  two  words\n", want: variables("A", "1", "B", "two  words")},
		"empty value":       {text: "A=\n", want: variables("A", "")},
		"value with =":      {text: "A=b=c\n", want: variables("A", "b=c")},
		"quotes stay":       {text: "A=\"b\"\n", want: variables("A", `"b"`)},
		"twice":             {text: "A=1\nA=2\n", want: variables("A", "1", "A", "2")},
		"hash in value":     {text: "A=1 # no comment\n", want: variables("A", "1 # no comment")},
		"no =":              {text: "A=1\n\nsecret\n", err: `.s2i/environment:3: the line has no "="; write NAME=VALUE, or # before a comment`},
		"no name":           {text: "=secret\n", err: `.s2i/environment:1: "" is no name of an environment variable`},
		"export":            {text: "# x\nexport A=secret\n", err: `.s2i/environment:2: "export A" is no name`},
		"digit first":       {text: "1A=secret\n", err: `.s2i/environment:1: "1A" is no name`},
		"byte order mark":   {text: "\ufeffA=secret\n", err: `.s2i/environment:1: "\ufeffA" is no name`},
		"a list of secrets": {text: "A=1,secret=2\n", want: variables("A", "1,secret=2")},
		"zero":              {text: "A=secret\x00\n", err: ".s2i/environment:1: variable A: its value has a line break or a zero byte"},
		"not UTF-8":         {text: "A=secret\xff\n", err: ".s2i/environment:1: variable A: its value is not UTF-8"},
		"long":              {text: "A=" + strings.Repeat("secret", 10000) + "\n", err: ".s2i/environment:1: variable A: its value has 60000 bytes, which is too long"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseEnvironment(test.text)
			if test.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.err) || strings.Contains(err.Error(), "secret") {
					t.Fatalf("error = %v, want %q and no value", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("variables:\n%s", diff)
			}
		})
	}
}

// FuzzEnvironment holds that what is read can be written and read again, and
// that a builder gets all of it.
func FuzzEnvironment(f *testing.F) {
	f.Add("A=1\nB=2\n")
	f.Add("# c\n\n a.b = \"$x\" \\\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseEnvironment(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), ".s2i/environment:") {
				t.Errorf("error %q names no line", err)
			}
			return
		}
		var again strings.Builder
		for _, v := range got {
			again.WriteString(v.Name + "=" + v.Value + "\n")
		}
		back, err := parseEnvironment(again.String())
		if diff := cmp.Diff(got, back); err != nil || diff != "" {
			t.Fatalf("read again: %v\n%s", err, diff)
		}
		layout := build(t, func(o *Options) { o.Source = fstest.MapFS{environmentFile: file(text)} })
		var in []corev1.EnvVar
		for _, i := range named(read(t, layout.Dockerfile), "ENV") {
			for _, pair := range values(t, i) {
				in = append(in, corev1.EnvVar{Name: pair[0], Value: pair[1]})
			}
		}
		if diff := cmp.Diff(got, in); diff != "" {
			t.Errorf("in the image:\n%s", diff)
		}
	})
}
