package s2i

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// tree has what the patterns of the tests may match.
var tree = []string{".git/HEAD", "README.md", "a/README.md", "a/b/c.txt", "a/b/d.log", "a/x.txt", "é.txt", "[x]", "!y", "#z", " s"}

func treeFS() fstest.MapFS {
	out := fstest.MapFS{}
	for _, name := range tree {
		out[name] = &fstest.MapFile{Mode: 0o644}
	}
	return out
}

// left lists the files that are copied with the rules.
func left(t *testing.T, rules ignoreRules) []string {
	t.Helper()
	p := planner{Options: Options{Source: treeFS()}, root: ".", ignored: rules}
	files, err := p.sourceFiles(nil)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, f := range files {
		if f.Mode.IsRegular() {
			out = append(out, strings.TrimPrefix(f.Path, sourceDir+"/"))
		}
	}
	return out
}

func TestIgnore(t *testing.T) {
	without := func(gone ...string) []string {
		out := []string{}
		for _, name := range left(t, nil) {
			keep := true
			for _, g := range gone {
				keep = keep && name != g && !strings.HasPrefix(name, g+"/")
			}
			if keep {
				out = append(out, name)
			}
		}
		return out
	}
	if len(without()) != len(tree) {
		t.Fatalf("without rules %q are left of %q", without(), tree)
	}
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"nothing":             {"", without()},
		"comment":             {"# README.md\n", without()},
		"comment after space": {"  #z\n", without()},
		"a file":              {"README.md\n", without("README.md")},
		"spaces around":       {"  README.md  \r\n", without("README.md")},
		"a tab is a name's":   {"\tREADME.md\n", without()},
		"a folder":            {"a", without("a")},
		"a folder with slash": {"a/\n", without("a")},
		"from the top":        {"/a/b\n./README.md\n", without("a/b", "README.md")},
		"not in folders":      {"*.md\n", without("README.md")},
		"one level":           {"*/*.md\n", without("a/README.md")},
		"two stars are one":   {"**/*.txt\n", without("a/x.txt")},
		"hidden files too":    {"*\n", []string{}},
		"question mark":       {"?.txt\n", without("é.txt")},
		"class":               {"a/[b-c]\n", without("a/b")},
		"escaped":             {"\\[x\\]\n\\#z\n", without("[x]", "#z")},
		"escaped mark":        {"\\!y\n", without("!y")},
		"kept":                {"*\n!README.md\n", []string{"README.md"}},
		"kept by pattern":     {"*.md\n!R*\n", without()},
		"order counts":        {"!README.md\n*.md\n", without("README.md")},
		"ignored again":       {"*.md\n!README.md\nREAD*\n", without("README.md")},
		"not inside":          {"a\n!a/x.txt\n", without("a")},
		"inside, by level":    {"a/*\n!a/x.txt\n", without("a/README.md", "a/b")},
		"out of the tree":     {"../a\n..\n", without()},
		"keeping the whole":   {"*.md\n!.\n", without("README.md")},
		"a line without end":  {"README.md", without("README.md")},
		"a leading space":     {"\\ s\n", without(" s")},
		"way back":            {"a/../README.md\n", without("README.md")},
		"no slash in a class": {"a[^x]README.md\n", without()},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := parseIgnore(test.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, left(t, rules)); diff != "" {
				t.Errorf("left:\n%s", diff)
			}
		})
	}
}

func TestIgnoreRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"no pattern":    {"a\n\n[b\n", `.s2iignore:3: "[b" is no pattern`},
		"kept pattern":  {"![\n", `.s2iignore:1: "[" is no pattern`},
		"escape at end": {"a\\\n", `.s2iignore:1: "a\\" is no pattern`},
		"all":           {"# x\n.\n", `.s2iignore:2: "." is the source as a whole`},
		"all from top":  {"/\n", `.s2iignore:1: "/" is the source as a whole`},
	} {
		t.Run(name, func(t *testing.T) {
			if rules, err := parseIgnore(test.text); err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("rules %v, error = %v, want %q", rules, err, test.want)
			}
		})
	}
}

// globbed lists the files that are left when patterns are looked up one by one, each
// with what it matches: what .s2iignore is documented to do, in another way.
func globbed(t *testing.T, text string) []string {
	t.Helper()
	files := treeFS()
	gone := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.Trim(strings.TrimRight(line, "\r\n"), " ")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		pattern, keep := strings.CutPrefix(line, "!")
		pattern = filepath.Join("/r", pattern)
		if !strings.HasPrefix(pattern, "/r/") {
			continue
		}
		pattern = strings.TrimPrefix(pattern, "/r/")
		matches, err := fs.Glob(files, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range matches {
			gone[name] = !keep
		}
	}
	out := []string{}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case gone[name] && entry.IsDir():
			return fs.SkipDir
		case !gone[name] && !entry.IsDir():
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzIgnore holds that what is left is what is left when each pattern is looked up
// in the tree, and that a refusal names the line.
func FuzzIgnore(f *testing.F) {
	f.Add("*.md\n!README.md\n\na/b\n# c\n")
	f.Add("a/*\n!a/[b-x]\n\\[x\\]\n../q\n")
	f.Add("a//b/./c.txt\r\n!a/b/*\n")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := parseIgnore(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), ignoreFile+":") {
				t.Errorf("error %q names no line", err)
			}
			return
		}
		if diff := cmp.Diff(globbed(t, text), left(t, rules)); diff != "" {
			t.Errorf("%q leaves:\n%s", text, diff)
		}
	})
}
