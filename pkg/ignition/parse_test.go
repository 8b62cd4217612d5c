package ignition

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestS35ParseVersions(t *testing.T) {
	for version, reason := range map[string]versionReason{
		"2.0.0": "", "2.1.0": "", "2.2.0": "", "2.3.0": "", "2.4.0": "",
		"3.0.0": "", "3.1.0": "", "3.2.0": "", "3.3.0": "", "3.4.0": "", "3.5.0": "",
		"":                   versionUnreadable,
		"three":              versionUnreadable,
		"1.0.0":              versionTooOld,
		"2.5.0":              versionUnknown,
		"2.2.1":              versionUnknown,
		"3.4.1":              versionUnknown,
		"2.5.0-experimental": versionExperimental,
		"3.6.0-experimental": versionExperimental,
		"3.6.0":              versionTooNew,
		"4.0.0":              versionTooNew,
	} {
		cfg, _, err := Parse([]byte(`{"ignition":{"version":"`+version+`"}}`), empty)
		if checked := Check([]byte(`{"ignition":{"version":"` + version + `"}}`)); !reflect.DeepEqual(checked, err) {
			t.Errorf("%s: Check says %v, Parse %v", version, checked, err)
		}
		var refused *versionError
		switch {
		case reason == "" && (err != nil || cfg.Ignition.Version != Newest):
			t.Errorf("%s: version %q, error %v", version, cfg.Ignition.Version, err)
		case reason == "":
		case !errors.As(err, &refused) || refused.Reason != reason || refused.Version != version:
			t.Errorf("%s: error %v, want one that says %s", version, err, reason)
		case !strings.Contains(err.Error(), "use 2.0.0 to 2.4.0 or 3.0.0 to "+Newest):
			t.Errorf("%s: %q does not say what to do", version, err)
		}
	}
}

// empty is a Converter that finds nothing in any config.
func empty([]byte) (Converted, error) {
	return Converted{Config: []byte(`{"ignition":{"version":"3.1.0"}}`)}, nil
}

func TestParseConverts(t *testing.T) {
	given := []byte(`{"ignition":{"version":"2.2.0"}}`)
	answer := func(config string, err error) Converter {
		return func(raw []byte) (Converted, error) {
			if string(raw) != string(given) {
				t.Errorf("given %q", raw)
			}
			return Converted{[]byte(config), []string{"before"}}, err
		}
	}
	cfg, warned, err := Parse(given, answer(`{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"/x"}],"odd":1}}`, nil))
	if err != nil || cfg.Ignition.Version != Newest || len(cfg.Storage.Files) != 1 || len(warned) != 2 || warned[0] != "before" {
		t.Errorf("%v, %q, %v", cfg, warned, err)
	}
	if _, _, err := Parse(given, answer("", ErrNoConverter)); !errors.Is(err, ErrNoConverter) {
		t.Errorf("the converter's error became %v", err)
	}
	if _, _, err := Parse(given, answer(`{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"x"}]}}`, nil)); err == nil {
		t.Error("what was converted is not validated")
	}
}

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name, config, err, warn string
		files                   int
	}{
		{name: "nothing"},
		{name: "null", config: " null\n"},
		{name: "no version", config: `{}`, err: "ignition.version is missing"},
		{name: "no JSON", config: `{"ignition"`, err: "as JSON"},
		{name: "trailing bytes", config: `{"ignition":{"version":"3.1.0"}} x`, err: "as JSON"},
		{name: "file", config: `{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"/x"}]}}`, files: 1},
		{name: "invalid", config: `{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"x"}]}}`, err: "$.storage.files.0.path"},
		{name: "invalid, named", config: `{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"/a"},{"path":"/b","mode":99999,"contents":{"source":"data:,s"}}]}}`, err: `$.storage.files.1.mode, line 1 col 87: illegal file mode (path "/b")`},
		{name: "invalid inside of what is named", config: `{"ignition":{"version":"3.1.0"},"systemd":{"units":[{"name":"a.service","dropins":[{"name":"b"}]}]}}`, err: `(name "b")`},
		{name: "invalid, often", config: `{"ignition":{"version":"3.1.0"},"storage":{"files":[` + strings.Repeat(`{"path":"x"},`, 20) + `{"path":"` + strings.Repeat("x", 5000) + `"}]}}`, err: "x\"); and "},
		{name: "duplicate", config: `{"ignition":{"version":"3.1.0"},"storage":{"files":[{"path":"/x"},{"path":"/x"}]}}`, err: "duplicate"},
		{name: "unknown key", config: `{"ignition":{"version":"3.1.0"},"storage":{"file":[]}}`, warn: "$.storage.file"},
		{name: "special bits", config: `{"ignition":{"version":"3.5.0"},"storage":{"files":[{"path":"/x","mode":2541}]}}`, files: 1, warn: "3.6.0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, warned, err := Parse([]byte(row.config), empty)
			if checked := Check([]byte(row.config)); (checked != nil) != (err != nil) {
				t.Errorf("Check says %v, Parse %v", checked, err)
			}
			if (err != nil) != (row.err != "") || (err != nil && !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("error is %v, want %q", err, row.err)
			}
			if len(cfg.Storage.Files) != row.files {
				t.Errorf("%d files", len(cfg.Storage.Files))
			}
			for _, file := range cfg.Storage.Files {
				if file.Mode != nil && *file.Mode&^0o777 != 0 {
					t.Errorf("mode is %o", *file.Mode)
				}
			}
			if all := strings.Join(warned, "\n"); !strings.Contains(all, row.warn) || (row.warn == "" && all != "") {
				t.Errorf("warnings are %q, want %q", all, row.warn)
			}
		})
	}
}

func TestRender(t *testing.T) {
	configs := map[string]string{
		"data:,self":  `{"ignition":{"version":"3.1.0","config":{"merge":[{"source":"data:,self"}]}}}`,
		"data:,child": `{"ignition":{"version":"3.0.0"},"storage":{"files":[{"path":"/x","mode":256},{"path":"/child"}]}}`,
		"data:,twice": `{"ignition":{"version":"3.2.0","config":{"replace":{"source":"data:,child"}}}}`,
		"data:,bad":   `{"ignition":{"version":"9.0.0"}}`,
	}
	errFetch := errors.New("no such config")
	fetch := func(_ context.Context, ref Resource, _ string) ([]byte, error) {
		if text, ok := configs[*ref.Source]; ok {
			return []byte(text), nil
		}
		return nil, errFetch
	}
	for _, row := range []struct {
		name, refs string
		files      int
		err        string
	}{
		{"none", `{}`, 1, ""},
		{"merge", `{"merge":[{"source":"data:,child"}]}`, 2, ""},
		{"merge of a replaced one", `{"merge":[{"source":"data:,twice"}]}`, 2, ""},
		{"replace", `{"replace":{"source":"data:,twice"}}`, 2, ""},
		{"endless", `{"merge":[{"source":"data:,self"}]}`, 0, "more than 64 configs"},
		{"version", `{"merge":[{"source":"data:,child"},{"source":"data:,bad"}]}`, 0, `$.ignition.config.merge[1]: ignition.version "9.0.0"`},
		{"missing", `{"replace":{"source":"data:,gone"}}`, 0, "no such config"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, _, err := Parse([]byte(`{"ignition":{"version":"3.4.0","config":`+row.refs+`},"storage":{"files":[{"path":"/x","mode":420}]}}`), empty)
			if err != nil {
				t.Fatal(err)
			}
			out, _, err := Render(t.Context(), cfg, fetch, empty)
			if (err != nil) != (row.err != "") || (err != nil && !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("error is %v, want %q", err, row.err)
			}
			if len(out.Storage.Files) != row.files {
				t.Errorf("%d files, want %d", len(out.Storage.Files), row.files)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/x","mode":420,"contents":{"source":"data:,x"}}]}}`,
		`{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/x"}]}}`,
		`{"ignition":{"version":"3.6.0-experimental"}}`, `null`, `{}`, `[]`, "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		cfg, _, err := Parse(raw, empty)
		if checked := Check(raw); checked != nil && err == nil {
			t.Errorf("Check refuses what Parse reads: %v", checked)
		}
		if err != nil {
			return
		}
		if cfg.Ignition.Version != Newest {
			t.Errorf("version is %q", cfg.Ignition.Version)
		}
		written, err := json.Marshal(cfg)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, _, err := Parse(written, empty)
		if err != nil {
			t.Fatalf("what was read is refused when read again: %v\n%s", err, written)
		}
		if rewritten, err := json.Marshal(again); err != nil || !bytes.Equal(rewritten, written) {
			t.Errorf("read again it is another config: %v\n%s\n%s", err, written, rewritten)
		}
		short, err := Encode(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if brief, _, err := Parse(short, empty); err != nil || !reflect.DeepEqual(brief, again) {
			t.Errorf("without its empty parts it is another config: %v\n%s\n%s", err, written, short)
		}
	})
}
