package managed_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile/managed"
)

func TestRewrite(t *testing.T) {
	env := []managed.Pair{{Name: "A", Value: "$HOME b"}}
	for name, test := range map[string]struct {
		text    string
		changes managed.Changes
		want    string
	}{
		"nothing":             {"# a comment\nFROM  a \\\n  AS b\nRUN x\n\n# end", managed.Changes{}, "# a comment\nFROM  a \\\n  AS b\nRUN x\n\n# end"},
		"the last image":      {"FROM a\nFROM --platform=linux/amd64 b AS c\nRUN x", managed.Changes{From: "d@e"}, "FROM a\nFROM --platform=linux/amd64 d@e AS c\nRUN x"},
		"over several lines":  {"FROM \\\n  # which\n  b as c # no comment\nRUN x\n", managed.Changes{From: "d"}, ""},
		"a FROM that goes on": {"FROM \\\n  # which\n  b \\\n  as c\nRUN x\n", managed.Changes{From: "d"}, "FROM d AS c\nRUN x\n"},
		"environment everywhere": {
			"ARG V=1\nFROM a:$V AS x\nRUN one\nFROM x",
			managed.Changes{Env: env},
			"ARG V=1\nFROM a:$V AS x\nENV \"A\"=\"$HOME b\"\nRUN one\nFROM x\nENV \"A\"=\"$HOME b\"\n",
		},
		"the end": {
			"FROM a\nUSER 5",
			managed.Changes{BuildEnv: []managed.Pair{{"N", "b"}}, Labels: []managed.Pair{{"l", `cost "$5" \ ü`}, {"m", "two\nlines\x01"}}},
			"FROM a\nUSER 5\nENV \"N\"=\"b\"\nLABEL \"l\"=\"cost \\\"\\$5\\\" \\\\ ü\" \"m\"=\"two\\\\nlines\\\\x01\"\n",
		},
		"another escape token": {
			"# escape=`\nFROM a\nRUN one `\n two",
			managed.Changes{Labels: []managed.Pair{{"l", "`\\\"$\n"}}},
			"# escape=`\nFROM a\nRUN one `\n two\nLABEL \"l\"=\"``\\`\"`$\\n\"\n",
		},
		"a hook": {
			"FROM a\nRUN one\n",
			managed.Changes{Env: env, Hook: []string{"/bin/sh", "-ic", `it's "$1" & \`}, BuildEnv: []managed.Pair{{"N", "b"}}},
			"FROM a AS appimage\nENV \"A\"=\"$HOME b\"\nRUN one\nENV \"N\"=\"b\"\nFROM appimage\nENV \"A\"=\"$HOME b\"\n" +
				"RUN [\"/bin/sh\",\"-ic\",\"it's \\\"$1\\\" & \\\\\"]\nFROM appimage\nENV \"A\"=\"$HOME b\"\n",
		},
		"a hook on a stage with a name": {"FROM a as x\n", managed.Changes{Hook: []string{"t"}}, "FROM a as x\nFROM x\nRUN [\"t\"]\nFROM x\n"},
		"a hook and a name that is taken": {
			"FROM a AS AppImage\nFROM b\n",
			managed.Changes{Hook: []string{"t"}},
			"FROM a AS AppImage\nFROM b AS appimage1\nFROM appimage1\nRUN [\"t\"]\nFROM appimage1\n",
		},
		"images by another name": {
			"FROM tools AS t\nFROM tools\nCOPY --chown=1 --from=tools \\\n --from-here /a /b\nCOPY --from=t /a --from=t /c\nCOPY --from=toolsmith /a /b\n",
			managed.Changes{Images: []managed.Image{{As: []string{"tools", "t"}, From: "r/t:1"}}},
			"FROM r/t:1 AS t\nFROM r/t:1\nCOPY --chown=1 --from=r/t:1 \\\n --from-here /a /b\nCOPY --from=t /a --from=t /c\nCOPY --from=toolsmith /a /b\n",
		},
		"the last image, then its name": {"FROM a\n", managed.Changes{From: "b", Images: []managed.Image{{As: []string{"b"}, From: "c"}}}, "FROM c\n"},
		"heredocs": {
			"# syntax=docker/dockerfile:1\nFROM a\nRUN <<E\nFROM not\nE\nCOPY <<'F' /x\n$HOME \\\nF\n",
			managed.Changes{Env: env},
			"# syntax=docker/dockerfile:1\nFROM a\nENV \"A\"=\"$HOME b\"\nRUN <<E\nFROM not\nE\nCOPY <<'F' /x\n$HOME \\\nF\n",
		},
		"an end that goes on": {"FROM a\nRUN one \\\n  two \\", managed.Changes{BuildEnv: []managed.Pair{{"N", "b"}}}, "FROM a\nRUN one \\\n  two \nENV \"N\"=\"b\"\n"},
		"a mark":              {"\xef\xbb\xbfFROM a\n", managed.Changes{From: "b"}, "\xef\xbb\xbfFROM b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := managed.Rewrite(test.text, test.changes)
			if test.want == "" {
				if err == nil {
					t.Errorf("accepted: %s", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Dockerfile:\n%s", diff)
			}
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "no instructions",
		"RUN x\n":              "has no FROM",
		"FORM a\n":             "has no FROM",
		"FROM a b c d\n":       "line 1: FROM takes",
		"FROM a\nRUN <<E\nx\n": "unterminated heredoc",
		"# escape=x\nFROM a\n": "invalid escape token",
	} {
		if got, err := managed.Rewrite(text, managed.Changes{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, error %v; want %q", text, got, err, want)
		}
	}
}

// TestRewriteRefusesWhatGoesOn: what is put behind it would be part of it.
func TestRewriteRefusesWhatGoesOn(t *testing.T) {
	_, err := managed.Rewrite("FROM a\nRUN one \\\n# two\n", managed.Changes{Labels: []managed.Pair{{"l", "v"}}})
	if err == nil || !strings.Contains(err.Error(), "would be part of RUN") {
		t.Errorf("error = %v", err)
	}
}

func TestImages(t *testing.T) {
	for name, test := range map[string]struct {
		text      string
		arguments map[string]string
		want      []string
	}{
		"stages and numbers are none": {text: "FROM a:1 AS x\nFROM X\nCOPY --from=x / /\nCOPY --from=0 / /\nCOPY --from=b / /\nFROM scratch\n", want: []string{"a:1", "b"}},
		"defaults":                    {text: "ARG V=1\nARG W=$V.2\nFROM a:${W}\n", want: []string{"a:1.2"}},
		"arguments of the build":      {text: "ARG V=1\nFROM a:$V\nARG V\nRUN --mount=type=bind,from=b:$V,target=/x y\n", arguments: map[string]string{"V": "2", "X": "9"}, want: []string{"a:2", "b:2"}},
		"each once":                   {text: "FROM a\nFROM a\nRUN --mount=from=a,target=/x y\n", want: []string{"a"}},
		"variables of a stage":        {text: "FROM a\nENV I=b\nCOPY --from=$I / /\n", want: []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := managed.Images(test.text, test.arguments)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("images = %q, %v, want %q", got, err, test.want)
			}
		})
	}
	for text, want := range map[string]string{
		"FROM $V\n":                             "line 1: FROM $V is empty",
		"FROM a\nRUN --mount=a\\\"b x\n":        "line 2: RUN --mount=",
		"FROM a\nCOPY --from=${x / /\n":         "line 2: COPY --from",
		"ARG A\nFROM a\nFROM ${A}\nFROM b AS\n": "FROM takes an image",
	} {
		if _, err := managed.Images(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestBase(t *testing.T) {
	for text, want := range map[string]string{
		"FROM a\nFROM b AS x\nFROM X\n":   "b",
		"ARG V=1\nFROM a:$V AS x\nFROM x": "a:1",
		"FROM a\nFROM scratch\n":          "",
	} {
		if got, err := managed.Base(text, nil); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// TestUnkept: of what each stage hands on, an image by another name nothing.
func TestUnkept(t *testing.T) {
	for name, test := range map[string]struct {
		text      string
		changes   managed.Changes
		arguments map[string]string
		want      string
	}{
		"nothing":             {text: "FROM a\nRUN x\n", want: "[]"},
		"all":                 {text: "# a comment\nFROM a\nhealthcheck \\\n  CMD x\nSHELL [\"/bin/a\"]\nONBUILD RUN x\nonbuild USER 0\n", want: "[{HEALTHCHECK 3} {SHELL 5} {ONBUILD 6} {ONBUILD 7}]"},
		"the last one counts": {text: "FROM a\nHEALTHCHECK CMD x\nSHELL [\"a\"]\nSHELL [\"b\"]\nHEALTHCHECK --interval=1s CMD y\n", want: "[{SHELL 4} {HEALTHCHECK 5}]"},
		"none":                {text: "FROM a\nHEALTHCHECK CMD x\nHEALTHCHECK none\n", want: "[]"},
		"of another stage":    {text: "FROM a AS b\nSHELL [\"a\"]\nONBUILD RUN x\nFROM a\nCOPY --from=b / /\n", want: "[]"},
		"of the stage below":  {text: "FROM a AS B\nSHELL [\"a\"]\nHEALTHCHECK CMD x\nONBUILD RUN x\nFROM b AS c\nSHELL [\"b\"]\nFROM c\n", want: "[{HEALTHCHECK 3} {SHELL 6}]"},
		"through a variable":  {text: "ARG S=x\nFROM a AS b\nSHELL [\"a\"]\nFROM $S\n", arguments: map[string]string{"S": "b"}, want: "[{SHELL 3}]"},
		"another base":        {text: "FROM a AS b\nSHELL [\"a\"]\nFROM b\nHEALTHCHECK CMD x\n", changes: managed.Changes{From: "c"}, want: "[{HEALTHCHECK 4}]"},
		"a base of no value":  {text: "FROM $none\nHEALTHCHECK CMD x\n", changes: managed.Changes{From: "c"}, want: "[{HEALTHCHECK 2}]"},
		"an image's name":     {text: "FROM a\nSHELL [\"a\"]\nFROM b\n", changes: managed.Changes{Images: []managed.Image{{As: []string{"b"}, From: "a"}}}, want: "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := managed.Unkept(test.text, test.changes, test.arguments)
			if err != nil || fmt.Sprint(got) != test.want {
				t.Errorf("unkept %v, %v, want %s", got, err, test.want)
			}
		})
	}
}

// FuzzRewrite: whatever the text, the result parses, and the author's stages are in
// it, in their order and each with its own instructions.
func FuzzRewrite(f *testing.F) {
	f.Add("# escape=`\nFROM a AS b `\n\nRUN <<E\nFROM x\nE\nFROM b\nCOPY --from=a /x /y `", "v\n\"`$\\", "a")
	f.Add("ARG A=1\nFROM a\r\nONBUILD RUN x\nLABEL a=b \\\n# c\n\n d=e\\", "", "b")
	f.Fuzz(func(t *testing.T, text, value, as string) {
		changes := managed.Changes{
			From: "registry.example.com/base:1", Env: []managed.Pair{{"E", value}}, BuildEnv: []managed.Pair{{"B", value}},
			Labels: []managed.Pair{{"l", value}}, Hook: []string{"sh", value}, Images: []managed.Image{{As: []string{as}, From: "registry.example.com/other:1"}},
		}
		got, err := managed.Rewrite(text, changes)
		if err != nil {
			return
		}
		was, is := verbs(t, text), verbs(t, got)
		at := 0
		for _, verb := range was {
			next := slices.Index(is[at:], verb)
			if next < 0 {
				t.Fatalf("%s of\n%s\nis not in\n%s", verb, text, got)
			}
			at += next + 1
		}
		if n := len(is) - len(was); n != 2+3+2+count(was, "from") {
			t.Errorf("%d instructions were added to\n%s\nin\n%s", n, text, got)
		}
		if _, err := managed.Unkept(text, changes, nil); err != nil {
			t.Errorf("what is not kept of\n%s: %v", text, err)
		}
		if _, err := managed.Images(got, map[string]string{"A": value}); err == nil {
			if base, err := managed.Base(got, map[string]string{"A": value}); err != nil || base == "" {
				t.Errorf("base %q, %v of\n%s", base, err, got)
			}
		}
		if count(is, "from") != count(was, "from")+2 {
			t.Errorf("stages of\n%s\nin\n%s", text, got)
		}
	})
}

func count(list []string, want string) int {
	n := 0
	for _, item := range list {
		if item == want {
			n++
		}
	}
	return n
}

func verbs(t *testing.T, text string) []string {
	t.Helper()
	result, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var list []string
	for _, node := range result.AST.Children {
		list = append(list, strings.ToLower(node.Value))
	}
	return list
}
