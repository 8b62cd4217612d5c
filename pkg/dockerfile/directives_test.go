package dockerfile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

func TestEscapeFirst(t *testing.T) {
	const bom = "\xef\xbb\xbf"
	tests := []struct{ name, text, want string }{
		{"none", final, final},
		{"empty", "", ""},
		{"alone", "# escape=`\n" + final, "# escape=`\n" + final},
		{"after syntax", "# syntax=docker/dockerfile:1\n# escape=`\n# note\n" + final, "# escape=`\n# syntax=docker/dockerfile:1\n# note\n" + final},
		{"windows and a byte order mark", bom + "#syntax=a\r\n#check=b\r\n#escape=`\r\n" + final, bom + "#escape=`\r\n#syntax=a\r\n#check=b\r\n" + final},
		{"after a comment it is one", "# note\n# escape=`\n" + final, "# note\n# escape=`\n" + final},
		{"after an empty line it is a comment", "\n# escape=`\n" + final, "\n# escape=`\n" + final},
		{"without a line's end", "# syntax=a\n# escape=`", "# syntax=a\n# escape=`"},
	}
	for _, test := range tests {
		if got := dockerfile.EscapeFirst(test.text); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// FuzzEscapeFirst moves lines and changes none; what was ordered stays.
func FuzzEscapeFirst(f *testing.F) {
	f.Add("# syntax=docker/dockerfile:1\n# escape=`\n# note\n" + final)
	f.Add("\xef\xbb\xbf#syntax=a\r\n#check=b\r\n#escape=`\r\n" + final)
	f.Add("# syntax=a\n# escape=`")
	f.Fuzz(func(t *testing.T, text string) {
		once := dockerfile.EscapeFirst(text)
		if again := dockerfile.EscapeFirst(once); again != once {
			t.Errorf("%q becomes %q, and that becomes %q", text, once, again)
		}
		if before, after := sortedLines(text), sortedLines(once); !slices.Equal(before, after) {
			t.Errorf("%q lost or changed a line: %q", text, once)
		}
	})
}

func sortedLines(text string) []string {
	return slices.Sorted(strings.Lines(strings.TrimPrefix(text, "\xef\xbb\xbf")))
}
