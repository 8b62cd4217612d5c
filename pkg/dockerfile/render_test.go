package dockerfile_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

var update = flag.Bool("update", false, "write the golden files")

const base = "quay.io/openshift/os@sha256:1111111111111111111111111111111111111111111111111111111111111111"

var onBase = dockerfile.Configs{Base: base}

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
			rendered, err := dockerfile.Render(onBase, custom)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, name, rendered)
		})
	}
}

func checkGolden(t *testing.T, name, rendered string) {
	t.Helper()
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
}

func TestRenderedReadsBack(t *testing.T) {
	for name, custom := range renderCases {
		rendered, err := dockerfile.Render(onBase, custom)
		if err != nil {
			t.Fatal(err)
		}
		file, err := dockerfile.ParseRendered(rendered)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if file.Configs().Base != base {
			t.Errorf("%s: base %q", name, file.Configs().Base)
		}
		if again, err := file.Render(onBase); file.HasContent() && strings.Contains(custom, "FROM") && (err != nil || again != rendered) {
			t.Errorf("%s: rendered again:\n%q\nwant:\n%q (%v)", name, again, rendered, err)
		}
		if strings.Contains(custom, "FROM") && file.Custom() != custom {
			t.Errorf("%s: custom text came back as %q", name, file.Custom())
		}
	}
}

// TestConfigLast: the stage configs has no config, and all else is as ever.
func TestConfigLast(t *testing.T) {
	add := "ADD " + dockerfile.ConfigLayerFile + " /\n"
	for _, configs := range []dockerfile.Configs{
		{Base: base}, {Base: base, Packages: ospackages.New([]string{"usbguard"}, "realtime"), Extensions: "quay.io/openshift/extensions:1"},
	} {
		last := configs
		last.ConfigLast = true
		for name, custom := range renderCases {
			file, err := dockerfile.Parse(custom)
			if err != nil {
				t.Fatal(err)
			}
			with, err := file.Render(configs)
			if err != nil {
				t.Fatal(err)
			}
			without, err := file.Render(last)
			if err != nil || strings.ReplaceAll(with, add, "") != without {
				t.Errorf("%s: rendered\n%s\nand\n%s", name, with, without)
			}
			back, err := dockerfile.ParseRendered(without)
			if err != nil || !reflect.DeepEqual(back.Configs(), last) {
				t.Fatalf("%s: read back: %+v, %v", name, back, err)
			}
			if again, err := back.Render(last); strings.Contains(custom, "FROM") && (err != nil || again != without) {
				t.Errorf("%s: rendered again\n%s", name, again)
			}
			if installs := !configs.Packages.IsZero(); back.InstallsPackages(1, 2) != installs || back.InstallsPackages(1, 3) {
				t.Errorf("%s: the step that installs packages is another", name)
			}
		}
	}
}

// TestConfigLastIsNotTheUsers: a first step that looks like ours is the user's.
func TestConfigLastIsNotTheUsers(t *testing.T) {
	custom := final + "ADD " + dockerfile.ConfigLayerFile + " /\nRUN true\n"
	rendered, err := dockerfile.Render(dockerfile.Configs{Base: base, ConfigLast: true}, custom)
	if err != nil {
		t.Fatal(err)
	}
	back, err := dockerfile.ParseRendered(rendered)
	if err != nil || !back.Configs().ConfigLast || back.Custom() != custom {
		t.Errorf("read back %+v, %v", back, err)
	}
}

func TestRenderRefusesBaseImages(t *testing.T) {
	for _, image := range []string{"", "a b", "a\nRUN x", "$BASE", "a\\"} {
		if _, err := dockerfile.Render(dockerfile.Configs{Base: image}, ""); !errors.Is(err, dockerfile.ErrBaseImage) {
			t.Errorf("%q: error = %v, want ErrBaseImage", image, err)
		}
	}
}

func TestParseRenderedRefusesOthers(t *testing.T) {
	for _, text := range []string{"", final, "FROM a AS configs\n"} {
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
		rendered, err := file.Render(onBase)
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
		withPackages, err := file.Render(packageCases["all"])
		if err != nil {
			t.Fatal(err)
		}
		for _, rendered := range []string{rendered, withPackages} {
			again, err := dockerfile.ParseRendered(rendered)
			if err != nil {
				t.Fatalf("rendered text does not parse: %v\n%q", err, rendered)
			}
			if again.NeedsBuild() != file.NeedsBuild() || file.HasContent() && again.Custom() != custom {
				t.Fatalf("the rendered text is read differently: %q", rendered)
			}
		}
	})
}
