package dockerfile_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

var update = flag.Bool("update", false, "write the golden files")

const base = "quay.io/openshift/os@sha256:1111111111111111111111111111111111111111111111111111111111111111"

// renderCases are the texts of S34: whatever an administrator writes goes
// through exactly.
var renderCases = map[string]string{
	"empty":           "",
	"comment":         "# nothing yet",
	"bare":            final,
	"windows":         "FROM configs AS final\r\nRUN echo 'a' \\\r\n  && echo \"$HOME\"\r\n",
	"directives":      "# syntax=docker/dockerfile:1.7\n# escape=`\nFROM configs AS final\nRUN echo a `\n  b\n",
	"global-arg":      "# a comment\nARG VERSION=40\n\nFROM quay.io/fedora:${VERSION} AS tools\nRUN echo $VERSION ${x:-y}\n\n" + final + "COPY --from=tools /a /a\n",
	"byte-order-mark": "\xef\xbb\xbfFROM configs AS final\nRUN true\n",
	"heredoc":         final + "RUN <<'EOF' bash\nFROM x\necho \"{{ .Base }}\" $(date) \\\nEOF\nCOPY <<-E1 <<E2 /etc/\n\ta\n\tE1\nb\nE2\n",
	"characters":      final + "RUN echo 'ünï' {{ range }} \"$a\" \\$b `c` %s \\\\ <>&\n",
	"no-newline":      final + "RUN true",
}

func TestS34RenderGolden(t *testing.T) {
	for name, custom := range renderCases {
		t.Run(name, func(t *testing.T) {
			rendered, err := dockerfile.Render(base, custom)
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(rendered), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if rendered != string(want) {
				t.Errorf("rendered:\n%q\nwant:\n%q", rendered, want)
			}
		})
	}
}

func TestRenderedReadsBack(t *testing.T) {
	for name, custom := range renderCases {
		rendered, err := dockerfile.Render(base, custom)
		if err != nil {
			t.Fatal(err)
		}
		file, err := dockerfile.ParseRendered(rendered)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if file.Base() != base {
			t.Errorf("%s: base %q", name, file.Base())
		}
		if again, err := file.Render(base); file.HasContent() && strings.Contains(custom, "FROM") && (err != nil || again != rendered) {
			t.Errorf("%s: rendered again:\n%q\nwant:\n%q (%v)", name, again, rendered, err)
		}
		if strings.Contains(custom, "FROM") && file.Custom() != custom {
			t.Errorf("%s: custom text came back as %q", name, file.Custom())
		}
	}
}

// TestConfigLast: the stage configs is the base alone, and all else is as ever.
func TestConfigLast(t *testing.T) {
	for name, custom := range renderCases {
		first, err := dockerfile.Parse(custom)
		if err != nil {
			t.Fatal(err)
		}
		with, err := first.Render(base)
		if err != nil {
			t.Fatal(err)
		}
		without, err := first.ConfigLast().Render(base)
		if err != nil || first.IsConfigLast() {
			t.Fatal(err)
		}
		if add := "ADD " + dockerfile.ConfigLayerFile + " /\n"; strings.Replace(with, add, "", 1) != without || strings.Contains(without, add) {
			t.Errorf("%s: rendered\n%s\nand\n%s", name, with, without)
		}
		back, err := dockerfile.ParseRendered(without)
		if err != nil || !back.IsConfigLast() || back.Base() != base {
			t.Fatalf("%s: read back: %v", name, err)
		}
		if again, err := back.Render(base); strings.Contains(custom, "FROM") && (err != nil || again != without) {
			t.Errorf("%s: rendered again\n%s", name, again)
		}
	}
}

// TestConfigLastIsNotTheUsers: a first step that looks like ours is the user's.
func TestConfigLastIsNotTheUsers(t *testing.T) {
	custom := final + "ADD " + dockerfile.ConfigLayerFile + " /\nRUN true\n"
	file, err := dockerfile.Parse(custom)
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := file.ConfigLast().Render(base)
	if err != nil {
		t.Fatal(err)
	}
	back, err := dockerfile.ParseRendered(rendered)
	if err != nil || !back.IsConfigLast() || back.Custom() != custom {
		t.Errorf("read back %+v, %v", back, err)
	}
}

func TestRenderRefusesBaseImages(t *testing.T) {
	for _, image := range []string{"", "a b", "a\nRUN x", "$BASE", "a\\"} {
		if _, err := dockerfile.Render(image, ""); !errors.Is(err, dockerfile.ErrBaseImage) {
			t.Errorf("%q: error = %v, want ErrBaseImage", image, err)
		}
	}
}

func TestParseRenderedRefusesOthers(t *testing.T) {
	for _, text := range []string{"", final, "FROM a AS config\n"} {
		if _, err := dockerfile.ParseRendered(text); !errors.Is(err, dockerfile.ErrNotRendered) {
			t.Errorf("%q: error = %v, want ErrNotRendered", text, err)
		}
	}
}

// FuzzRender holds that a text that passes the lint is in the result byte for
// byte, around one block, and that the result passes the lint again.
func FuzzRender(f *testing.F) {
	for _, custom := range renderCases {
		f.Add(custom)
	}
	f.Fuzz(func(t *testing.T, custom string) {
		file, err := dockerfile.Parse(custom)
		if err != nil {
			var lint *dockerfile.LintError
			if !errors.As(err, &lint) || len(lint.Problems) == 0 {
				t.Fatalf("error %v is no LintError", err)
			}
			for _, p := range lint.Problems {
				if p.Line < 0 || p.Line > strings.Count(custom, "\n")+1 || p.Message == "" {
					t.Fatalf("problem %+v of a text of %d lines", p, strings.Count(custom, "\n")+1)
				}
			}
			return
		}
		rendered, err := file.Render(base)
		if err != nil {
			t.Fatal(err)
		}
		block := "FROM " + base + " AS configs\nADD machine-config.tar /\n"
		before, after, found := strings.Cut(rendered, block)
		if !found {
			t.Fatalf("no configs stage in %q", rendered)
		}
		if file.HasContent() && before+after != custom {
			t.Fatalf("custom text changed: %q", rendered)
		}
		again, err := dockerfile.ParseRendered(rendered)
		if err != nil {
			t.Fatalf("rendered text does not parse: %v\n%q", err, rendered)
		}
		if again.NeedsBuild() != file.NeedsBuild() {
			t.Fatalf("the rendered text is read differently: %q", rendered)
		}
	})
}
