package ignition

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/coreos/ignition/v2/config/v3_5"
	"github.com/coreos/ignition/v2/config/v3_5/types"
)

// parsed reads configs of which only the inside is given.
func parsed(t testing.TB, insides ...string) []Config {
	t.Helper()
	var configs []Config
	for _, inside := range insides {
		cfg, _, err := Parse([]byte(strings.Replace(`{"ignition":{"version":"3.4.0"},`+inside+`}`, `,}`, `}`, 1)), empty)
		if err != nil {
			t.Fatalf("%s: %v", inside, err)
		}
		configs = append(configs, cfg)
	}
	return configs
}

func TestMerge(t *testing.T) {
	for _, row := range []struct {
		name    string
		configs []string
		want    string // the inside of the result
		index   int
		err     string
	}{
		{name: "none"},
		{name: "one", configs: []string{`"storage":{"files":[{"path":"/a"}]}`}, want: `"storage":{"files":[{"path":"/a"}]}`},
		{
			name: "an empty one in between", configs: []string{`"storage":{"files":[{"path":"/a"}]}`, ``, `"storage":{"files":[{"path":"/b"}]}`},
			want: `"storage":{"files":[{"path":"/a"},{"path":"/b"}]}`,
		},
		{name: "the later one counts", configs: []string{
			`"storage":{"files":[{"path":"/a","mode":420,"contents":{"source":"data:,1"}},{"path":"/b"}]}`,
			`"storage":{"files":[{"path":"/a","contents":{"source":"data:,2"}}]}`,
		}, want: `"storage":{"files":[{"path":"/a","contents":{"source":"data:,2"},"mode":420},{"path":"/b"}]}`},
		{
			name: "a link for a file", configs: []string{`"storage":{"files":[{"path":"/a"}]}`, `"storage":{"links":[{"path":"/a","target":"/b"}]}`},
			want: `"storage":{"links":[{"path":"/a","target":"/b"}]}`,
		},
		{name: "drop-ins of a unit", configs: []string{
			`"systemd":{"units":[{"name":"a.service","enabled":true,"dropins":[{"name":"1.conf","contents":"[Unit]"}]}]}`,
			`"systemd":{"units":[{"name":"a.service","dropins":[{"name":"2.conf","contents":"[Unit]"}]}]}`,
		}, want: `"systemd":{"units":[{"dropins":[{"contents":"[Unit]","name":"1.conf"},{"contents":"[Unit]","name":"2.conf"}],"enabled":true,"name":"a.service"}]}`},
		{name: "valid apart, invalid together", configs: []string{
			``, `"storage":{"links":[{"path":"/a","target":"/b"}]}`,
			`"storage":{"files":[{"path":"/a/b"}]}`, `"storage":{"links":[{"path":"/c","target":"/b"}]}`,
		}, index: 2, err: "$.storage.files.0"},
	} {
		t.Run(row.name, func(t *testing.T) {
			configs, before := parsed(t, row.configs...), parsed(t, row.configs...)
			merged, err := Merge(configs...)
			if !reflect.DeepEqual(configs, before) {
				t.Error("the configs were changed")
			}
			if row.err != "" {
				var conflict *MergeError
				if !errors.As(err, &conflict) || conflict.Index != row.index || !strings.Contains(err.Error(), row.err) {
					t.Fatalf("error is %v, want %s of config %d", err, row.err, row.index)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := Encode(merged)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(`{"ignition":{"version":"`+Newest+`"},`+row.want+`}`, `,}`, `}`, 1)
			if !sameJSON(t, string(text), want) {
				t.Errorf("merged to\n%s, want\n%s", text, want)
			}
		})
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var decoded [2]any
	for i, text := range []string{a, b} {
		if err := json.Unmarshal([]byte(text), &decoded[i]); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return reflect.DeepEqual(decoded[0], decoded[1])
}

func TestDropEmpty(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                                   `{}`,
		`{"a":{}}`:                             `{}`,
		`{"a":{"b":{"c":{}}}}`:                 `{}`,
		`{"a":{},"b":1}`:                       `{"b":1}`,
		`{"b":1,"a":{}}`:                       `{"b":1}`,
		`{"a":1,"b":{},"c":{"d":{}},"e":2}`:    `{"a":1,"e":2}`,
		`{"a":{"b":{},"c":1,"d":{}},"e":{}}`:   `{"a":{"c":1}}`,
		`{"a":[{},{"b":{}},{"c":1}]}`:          `{"a":[{},{},{"c":1}]}`,
		`{"a":[],"b":"","c":null,"d":false}`:   `{"a":[],"b":"","c":null,"d":false}`,
		`{"a":"{\"b\":{}}","c":["x","y"]}`:     `{"a":"{\"b\":{}}","c":["x","y"]}`,
		`{"a\\":{},"b\\\"":{"c":"\\"}}`:        `{"b\\\"":{"c":"\\"}}`,
		`{"a":[["x"],{"b":[{"c":{}}]}],"d":0}`: `{"a":[["x"],{"b":[{}]}],"d":0}`,
	} {
		if out := string(dropEmpty([]byte(in))); out != want {
			t.Errorf("%s becomes %s, want %s", in, out, want)
		}
	}
}

// FuzzMerge compares with Ignition's own merge. Each byte is an entry of the
// first config, then of the second one, then of a third one.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7}, []byte{8, 1, 10, 3, 4, 37, 6}, []byte{0, 33, 2, 7, 7})
	f.Add([]byte{1}, []byte{9}, []byte{1})
	f.Add([]byte{}, []byte{0, 32, 64, 96, 128, 160}, []byte{160, 0})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		configs := []Config{madeOf(a, "a"), madeOf(b, "b"), madeOf(c, "c")}
		want := v3_5.Merge(v3_5.Merge(configs[0], configs[1]), configs[2])
		if merged := mergeAll(configs); !sameConfig(merged, want) {
			t.Errorf("merged to\n%+v, want\n%+v", merged, want)
		}
	})
}

// madeOf makes a config of which each byte is an entry, with contents that say
// whose it is. A path or name comes once.
func madeOf(entries []byte, whose string) Config {
	cfg := Config{Ignition: types.Ignition{Version: Newest}}
	seen := map[string]bool{}
	for _, b := range entries {
		kind, name := b>>5, string('p'+rune(b%16))
		text, node := whose+name, types.Node{Path: "/" + name}
		if whose == "b" {
			node.User.Name = &text
		}
		if key := name; kind < 6 && seen["/"+key] || kind >= 6 && seen[key] {
			continue
		}
		switch kind {
		case 0, 1:
			cfg.Storage.Files = append(cfg.Storage.Files, types.File{Node: node, FileEmbedded1: types.FileEmbedded1{Append: []Resource{{Source: &text}}}})
		case 2, 3:
			cfg.Storage.Directories = append(cfg.Storage.Directories, types.Directory{Node: node})
		case 4, 5:
			cfg.Storage.Links = append(cfg.Storage.Links, types.Link{Node: node, LinkEmbedded1: types.LinkEmbedded1{Target: &text}})
		default:
			cfg.Systemd.Units = append(cfg.Systemd.Units, types.Unit{Name: name, Dropins: []Dropin{{Name: whose, Contents: &text}}})
			cfg.KernelArguments.ShouldExist = append(cfg.KernelArguments.ShouldExist, types.KernelArgument(text))
			seen[name] = true
			continue
		}
		seen["/"+name] = true
	}
	return cfg
}

func sameConfig(a, b Config) bool {
	aText, aErr := Encode(a)
	bText, bErr := Encode(b)
	return aErr == nil && bErr == nil && bytes.Equal(aText, bText)
}
