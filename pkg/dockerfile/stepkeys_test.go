package dockerfile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/ospackages"
)

const cachedFile = `ARG VERSION=1
FROM tools.example.com/go:1 AS tools
RUN make
ENV A=b
FROM configs AS final
RUN <<END
one
END
COPY --from=tools /bin/tool /usr/bin/
RUN --mount=type=cache,target=/var/cache dnf install x
RUN --mount=target=/run/context ls
`

var cachedFrom = StepSources{
	Base: "sha256:base", Extensions: "sha256:extensions", Context: "context",
	Images: map[string]string{"tools.example.com/go:1": "sha256:go"},
}

func stepKeysOf(t *testing.T, custom string, configs Configs, from StepSources) [][]string {
	t.Helper()
	configs.Base = "base.example.com/os@sha256:0"
	text, err := Render(configs, custom)
	if err != nil {
		t.Fatal(err)
	}
	file, err := ParseRendered(text)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := file.StepKeys(from)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// differing names the first key of each stage that is another one, as stage.number
// from 1; what follows on it differs too.
func differing(t *testing.T, before, after [][]string) string {
	t.Helper()
	var found []string
	for s := range min(len(before), len(after)) {
		for n := range min(len(before[s]), len(after[s])) {
			if before[s][n] != after[s][n] {
				found = append(found, fmt.Sprintf("%d.%d", s+1, n+1))
				for later := range after[s][n:] {
					if slices.Contains(before[s], after[s][n+later]) {
						t.Errorf("step %d.%d is the same after one that is not", s+1, n+later+1)
					}
				}
				break
			}
		}
	}
	return strings.Join(found, " ")
}

// TestStepKeys: what a step may depend on changes its key, and nothing else does.
func TestStepKeys(t *testing.T) {
	before := stepKeysOf(t, cachedFile, Configs{}, cachedFrom)
	if len(before) != 3 || len(before[0]) != 2 || len(before[1]) != 3 || len(before[2]) != 5 {
		t.Fatalf("keys %v", before)
	}
	for name, row := range map[string]struct {
		old, new string
		configs  Configs
		from     func(*StepSources)
		want     string
	}{
		"nothing":                          {},
		"the last step":                    {old: "context ls", new: "context ls -l", want: "3.5"},
		"a here-document":                  {old: "one\n", new: "two\n", want: "3.2"},
		"a tool":                           {old: "make", new: "make all", want: "2.2 3.3"},
		"what configures a tool":           {old: "A=b", new: "A=c", want: "2.3 3.3"},
		"a comment":                        {old: "ARG", new: "# text\nARG"},
		"an argument":                      {old: "VERSION=1", new: "VERSION=2", want: "1.1 2.1 3.1"},
		"the config":                       {from: func(s *StepSources) { s.Context = "other" }, want: "1.2 3.1"},
		"the base":                         {from: func(s *StepSources) { s.Base = "sha256:other" }, want: "1.1 3.1"},
		"a tag that moved":                 {from: func(s *StepSources) { s.Images = map[string]string{"tools.example.com/go:1": "sha256:2"} }, want: "2.1 3.3"},
		"extensions that nobody asks for":  {from: func(s *StepSources) { s.Extensions = "" }, want: "3.3"},
		"packages":                         {configs: Configs{Packages: ospackages.New([]string{"usbguard"}, ""), Extensions: "registry.example.com/ext:1"}, want: "3.1"},
		"the config last, which none read": {configs: Configs{ConfigLast: true}, want: "3.1"},
	} {
		t.Run(name, func(t *testing.T) {
			from := cachedFrom
			if row.from != nil {
				row.from(&from)
			}
			after := stepKeysOf(t, strings.Replace(cachedFile, row.old, row.new, 1), row.configs, from)
			if got := differing(t, before, after); got != row.want {
				t.Errorf("other keys from %q on, want %q", got, row.want)
			}
		})
	}
}

// TestStepKeysWithoutConfig: with the config last, no step depends on it.
func TestStepKeysWithoutConfig(t *testing.T) {
	other := cachedFrom
	other.Context = ""
	custom := strings.Replace(cachedFile, "RUN --mount=target=/run/context ls\n", "", 1)
	if got := differing(t, stepKeysOf(t, custom, Configs{ConfigLast: true}, cachedFrom), stepKeysOf(t, custom, Configs{ConfigLast: true}, other)); got != "" {
		t.Errorf("other keys from %q on", got)
	}
}

// TestStepKeysOfNoContent: a file without instructions of the user's has steps too.
func TestStepKeysOfNoContent(t *testing.T) {
	packages := Configs{Packages: ospackages.New([]string{"usbguard"}, ""), Extensions: "registry.example.com/ext:1"}
	before := stepKeysOf(t, "", packages, cachedFrom)
	if len(before) != 2 || len(before[0]) != 4 || len(before[1]) != 1 {
		t.Fatalf("keys %v", before)
	}
	other := cachedFrom
	other.Extensions = "sha256:other"
	if got := differing(t, before, stepKeysOf(t, "", packages, other)); got != "1.3 2.1" {
		t.Errorf("another extensions image changes %q", got)
	}
}
