package configlayer

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestKernelArguments(t *testing.T) {
	bootc := layerTar(t, testNode{spec: "usr/bin/bootc", mode: 0o755})
	const path = "usr/lib/bootc/kargs.d/50-machine-config.toml"
	for _, row := range []struct {
		name   string
		base   *Tree
		args   []string
		text   string // of the file; none: there is no file
		warned bool
	}{
		{"none", testTree(t, osLayer(t), bootc), nil, "", false},
		{"empty ones", testTree(t, osLayer(t), bootc), []string{"", "  "}, "", false},
		{"in order", testTree(t, osLayer(t), bootc), []string{"nosmt", "hugepagesz=1G", "nosmt"}, `kargs = ["nosmt","hugepagesz=1G","nosmt"]`, false},
		{"several in one", testTree(t, osLayer(t), bootc), []string{"a=1 b=2"}, `kargs = ["a=1","b=2"]`, false},
		{"quoted", testTree(t, osLayer(t), bootc), []string{`dyndbg="file a.c +p ; file b.c +p" c`}, `kargs = ["dyndbg=\"file a.c +p ; file b.c +p\"","c"]`, false},
		{"of HTML", testTree(t, osLayer(t), bootc), []string{"a=<b>&c"}, `kargs = ["a=<b>&c"]`, false},
		{"no bootc", osTree(t), []string{"nosmt"}, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			mc := testConfig(`{"ignition":{"version":"3.4.0"}}`)
			mc.Spec.KernelArguments = row.args
			layer, err := Build(t.Context(), mc, row.base, Deps{})
			if err != nil {
				t.Fatal(err)
			}
			text := ""
			for line := range strings.Lines(listing(t, layer)) {
				if rest, found := strings.CutPrefix(line, "0 0644 0:0 "+path+" "); found {
					text = strings.TrimSpace(rest)
				}
			}
			want := ""
			if row.text != "" {
				want = strconv.Quote(row.text + "\n")
			}
			if text != want {
				t.Errorf("%s holds %s, want %s in\n%s", path, text, want, listing(t, layer))
			}
			if warned := slices.ContainsFunc(layer.Warnings(), func(w string) bool { return strings.Contains(w, "spec.kernelArguments") }); warned != row.warned {
				t.Errorf("warnings %q", layer.Warnings())
			}
		})
	}
	t.Run("a control character", func(t *testing.T) {
		mc := testConfig(`{"ignition":{"version":"3.4.0"}}`)
		mc.Spec.KernelArguments = []string{"good", "bad\nkargs"}
		var wrong *ConfigError
		if _, err := Build(t.Context(), mc, osTree(t), Deps{}); !errors.As(err, &wrong) || wrong.Path != "spec.kernelArguments.1" {
			t.Errorf("error %v", err)
		}
	})
}
