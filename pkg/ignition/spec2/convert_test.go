package spec2

import (
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

func TestConvert(t *testing.T) {
	for _, row := range []struct {
		name, config string
		files        int
		warn, err    string
	}{
		{name: "file", config: `{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x","mode":420,"contents":{"source":"data:,x"}}]}}`, files: 1},
		{name: "unknown key", config: `{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x","mode":420,"odd":1}]}}`, files: 1, warn: "odd"},
		{name: "duplicate", config: `{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x"},{"filesystem":"root","path":"/x"}]}}`, err: "from spec 2 to 3"},
		{name: "networkd", config: `{"ignition":{"version":"2.2.0"},"networkd":{"units":[{"name":"a.network"}]}}`, err: "spec 2"},
		{name: "invalid", config: `{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"x"}]}}`, err: "spec 2"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, warned, err := ignition.Parse([]byte(row.config), Convert)
			if (err != nil) != (row.err != "") || (err != nil && !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("error is %v, want %q", err, row.err)
			}
			if len(cfg.Storage.Files) != row.files {
				t.Errorf("%d files", len(cfg.Storage.Files))
			}
			if all := strings.Join(warned, "\n"); !strings.Contains(all, row.warn) || (row.warn == "" && all != "") {
				t.Errorf("warnings are %q, want %q", all, row.warn)
			}
		})
	}
}

func TestConvertOverwrites(t *testing.T) {
	cfg, _, err := ignition.Parse([]byte(`{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x","contents":{"source":"data:,x"}}]}}`), Convert)
	if err != nil {
		t.Fatal(err)
	}
	if over := cfg.Storage.Files[0].Overwrite; over == nil || !*over {
		t.Error("a file of spec 2 does not overwrite")
	}
}

// FuzzConvert checks that a config in spec 2 is either refused or one that can be
// written and read again.
func FuzzConvert(f *testing.F) {
	for _, seed := range []string{
		`{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x"}]}}`,
		`{"ignition":{"version":"2.4.0"},"passwd":{"users":[{"name":"core","create":{"uid":1}}]},"systemd":{"units":[{"name":"a.service","enable":true}]}}`,
		`{"ignition":{"version":"2.0.0","config":{"append":[{"source":"data:,x"}]}}}`, `{}`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		cfg, _, err := ignition.Parse(raw, Convert)
		if err != nil {
			return
		}
		text, err := ignition.Encode(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ignition.Parse(text, nil); err != nil {
			t.Errorf("%q became %q: %v", raw, text, err)
		}
	})
}
