package s2i

import (
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// instruction is one of a Dockerfile as a builder understands it: quotes taken off
// and variables replaced, of which none is set. RUN and CMD have one word, the
// shell's.
type instruction struct {
	name  string
	flags []string
	words []string
}

// noVariables implements shell.EnvGetter.
type noVariables struct{}

func (noVariables) Get(string) (string, bool) { return "", false }
func (noVariables) Keys() []string            { return nil }

// read parses a Dockerfile.
func read(t testing.TB, text string) []instruction {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(parsed.Warnings) > 0 {
		t.Fatalf("warnings: %+v\n%s", parsed.Warnings, text)
	}
	lexer := shell.NewLex(parsed.EscapeToken)
	var out []instruction
	for _, node := range parsed.AST.Children {
		if len(node.Heredocs) > 0 {
			t.Fatalf("a here-document in\n%s", text)
		}
		in := instruction{name: strings.ToUpper(node.Value), flags: node.Flags}
		for word := node.Next; word != nil; word = word.Next {
			value := word.Value
			if in.name != "RUN" && in.name != "CMD" {
				if value, _, err = lexer.ProcessWord(value, noVariables{}); err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
			}
			in.words = append(in.words, value)
		}
		out = append(out, in)
	}
	return out
}

// named returns the instructions of a name.
func named(all []instruction, name string) []instruction {
	return slices.DeleteFunc(slices.Clone(all), func(in instruction) bool { return in.name != name })
}

// values returns the pairs of an ENV or LABEL, of which the parser makes triples.
func values(t testing.TB, in instruction) [][2]string {
	t.Helper()
	var out [][2]string
	for words := range slices.Chunk(in.words, 3) {
		if len(words) != 3 || words[2] != "=" {
			t.Fatalf("%s %q", in.name, in.words)
		}
		out = append(out, [2]string{words[0], words[1]})
	}
	return out
}
