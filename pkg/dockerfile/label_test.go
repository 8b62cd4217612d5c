package dockerfile_test

import (
	"errors"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

func TestWithLabel(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"plain":           {"FROM a\nRUN b\n", "FROM a\nRUN b\nLABEL x/y=z\n"},
		"no end of line":  {"FROM a\nRUN b", "FROM a\nRUN b\nLABEL x/y=z\n"},
		"a heredoc":       {"FROM a\nRUN <<E\nb\nE\n", "FROM a\nRUN <<E\nb\nE\nLABEL x/y=z\n"},
		"another escape":  {"# escape=`\nFROM a\nRUN b \\\n", "# escape=`\nFROM a\nRUN b \\\nLABEL x/y=z\n"},
		"it goes on":      {"FROM a\nRUN b \\\n", ""},
		"it goes on, ` `": {"# escape=`\nFROM a\nRUN b `\n", ""},
	} {
		got, err := dockerfile.WithLabel(row.text, "x/y", "z")
		if got != row.want || (row.want == "") != errors.Is(err, dockerfile.ErrOpenEnd) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
