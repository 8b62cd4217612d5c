package s2i

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/machine-os-builder/machine-os-builder/pkg/s2i"
)

func readAll(t testing.TB, f s2i.File) []byte {
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
	return text
}

// compare wants both sides to make the same of an input, but for what the functions
// below take out; each of these is a meant difference. It says whether both made
// something.
func compare(t testing.TB, in input) bool {
	t.Helper()
	library, own := in.both(t)
	if library.err != nil || own.err != nil {
		if (library.err == nil) != (own.err == nil) {
			t.Errorf("of %+v\nthe library says %v, and we %v", in, library.err, own.err)
		}
		return false
	}
	if diff := cmp.Diff(instructions(t, library), instructions(t, own)); diff != "" {
		t.Errorf("of %+v\nthe library makes\n%s\nand we\n%s\n%s", in, library.text, own.text, diff)
	}
	if diff := cmp.Diff(tree(t, library.dir), tree(t, own.dir)); diff != "" {
		t.Errorf("of %+v\nthe contexts differ:\n%s", in, diff)
	}
	return true
}

// noVariables implements shell.EnvGetter.
type noVariables struct{}

func (noVariables) Get(string) (string, bool) { return "", false }
func (noVariables) Keys() []string            { return nil }

// instructions reads a Dockerfile as a builder does, one line for each instruction.
func instructions(t testing.TB, r result) []string {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(r.text))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.text)
	}
	lexer := shell.NewLex(parsed.EscapeToken)
	var out []string
	for _, node := range parsed.AST.Children {
		name := strings.ToUpper(node.Value)
		var words []string
		for word := node.Next; word != nil; word = word.Next {
			value := word.Value
			if name != "RUN" && name != "CMD" {
				if value, _, err = lexer.ProcessWord(value, noVariables{}); err != nil {
					t.Fatalf("%v\n%s", err, r.text)
				}
			}
			words = append(words, value)
		}
		switch name {
		case "FROM":
			// Both ways to write AS mean the same.
			words = strings.Split(strings.Replace(strings.Join(words, "\n"), "\nas\n", "\nAS\n", 1), "\n")
		case "LABEL":
			words = comparableLabels(words)
		case "COPY":
			// A slash at the end of a folder says nothing.
			words[0], words[1] = r.copied(t, words[0]), path.Clean(words[1])
		case "RUN":
			if words = comparableCommand(words[0]); len(words) == 0 {
				continue
			}
		}
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %q", name, strings.Join(node.Flags, " "), words)))
	}
	return out
}

// comparableLabels puts labels in order, of which the library has none, and leaves
// out where on the machine the source was.
func comparableLabels(words []string) []string {
	labels := map[string]string{}
	for pair := range slices.Chunk(words, 3) {
		labels[pair[0]] = pair[1]
	}
	if strings.HasPrefix(labels["io.openshift.build.source-location"], os.TempDir()) {
		delete(labels, "io.openshift.build.source-location")
		delete(labels, "io.openshift.build.source-context-dir")
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, name+"="+labels[name])
	}
	return out
}

// comparableCommand puts white space together. Secrets are removed with rm -f, and
// the kubelet's own links to them need not be, as they are not copied.
func comparableCommand(command string) []string {
	command = strings.Join(strings.Fields(command), " ")
	if !strings.HasPrefix(command, "rm ") {
		return []string{command}
	}
	var kept []string
	for part := range strings.SplitSeq(command, " && ") {
		if !strings.Contains(part, "/..") {
			kept = append(kept, "rm "+strings.TrimPrefix(strings.TrimPrefix(part, "rm "), "-f "))
		}
	}
	return kept
}

// copied puts the keys of a Secret or ConfigMap in the place of its folder in the
// context, which the library names by where it was mounted.
func (r result) copied(t testing.TB, from string) string {
	t.Helper()
	if !strings.HasPrefix(from, "upload/injections/") {
		return from
	}
	entries, err := os.ReadDir(filepath.Join(r.dir, from))
	if err != nil {
		t.Fatal(err)
	}
	keys := "keys:"
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(r.dir, from, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		keys += fmt.Sprintf(" %s=%q", entry.Name(), text)
	}
	return keys
}

// tree lists the source and the scripts of a context: paths, permissions of files,
// targets, contents. An empty folder of scripts is none.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var out []string
	for _, top := range []string{"upload/scripts", "upload/src"} {
		err := filepath.WalkDir(filepath.Join(dir, top), func(name string, entry fs.DirEntry, err error) error {
			if err != nil {
				if entry == nil && top == "upload/scripts" {
					return nil
				}
				return err
			}
			relative, err := filepath.Rel(dir, name)
			if err != nil || relative == "upload/scripts" {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			switch info.Mode().Type() {
			case fs.ModeDir:
				out = append(out, relative+"/")
			case fs.ModeSymlink:
				target, err := os.Readlink(name)
				out = append(out, relative+" -> "+target)
				return err
			default:
				text, err := os.ReadFile(name)
				out = append(out, fmt.Sprintf("%s %s %q", info.Mode(), relative, text))
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}
