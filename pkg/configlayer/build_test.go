package configlayer

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden keeps the layers of the example configs, over the test base.
func TestGolden(t *testing.T) {
	paths, err := filepath.Glob("testdata/configs/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no configs: %v", err)
	}
	base := osTree(t)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			layer, err := Build(t.Context(), testConfig(string(raw)), base, osDeps(t, base))
			got := ""
			if err != nil {
				got = "error: " + err.Error() + "\n"
			} else {
				got = listing(t, layer)
				for _, warning := range layer.Warnings() {
					got += "warning: " + warning + "\n"
				}
			}
			golden := filepath.Join("testdata", "golden", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// current is the part of every layer that holds the MachineConfig itself.
func withoutCurrent(listing string) string {
	var out strings.Builder
	for line := range strings.Lines(listing) {
		if !strings.Contains(line, "machine-config-daemon") {
			out.WriteString(line)
		}
	}
	return out.String()
}

var buildRows = []struct {
	name    string
	storage string // of a 3.4 config
	want    string // the layer without currentconfig, without the line of etc/
	err     string // $.path: part of the message
}{
	{name: "nothing"},
	{
		name: "special bits are dropped", storage: `"files":[{"path":"/etc/x","mode":2541,"contents":{"source":"data:,hi"}}]`,
		want: "0 0755 0:0 etc/x \"hi\"\n",
	},
	{
		name: "link of the base, relative", storage: `"files":[{"path":"/usr/local/bin/x"}]`,
		want: "5 0755 0:0 var/\n5 0755 0:0 var/usrlocal/\n5 0755 0:0 var/usrlocal/bin/\n0 0644 0:0 var/usrlocal/bin/x \"\"\n",
	},
	{
		name: "link of the base to what does not exist yet", storage: `"files":[{"path":"/opt/a/x"}]`,
		want: "5 0755 0:0 var/\n5 0755 0:0 var/opt/\n5 0755 0:0 var/opt/a/\n0 0644 0:0 var/opt/a/x \"\"\n",
	},
	{name: "link out of the root", storage: `"files":[{"path":"/out/x"}]`, want: "0 0644 0:0 etc/x \"\"\n"},
	{name: "loop", storage: `"files":[{"path":"/loop/x"}]`, err: "$.storage.files[0]: too many levels"},
	{name: "chain to nowhere", storage: `"files":[{"path":"/nowhere/x"}]`, err: "$.storage.files[0]: link to what does not exist"},
	{
		name: "private parents keep their mode", storage: `"files":[{"path":"/root/.x"}]`,
		want: "5 0700 0:0 root/\n0 0644 0:0 root/.x \"\"\n",
	},
	{
		name: "setgid parents hand their group down", storage: `"files":[{"path":"/var/mail/d/x"}]`,
		want: "5 0755 0:0 var/\n5 2775 0:8 var/mail/\n5 2755 0:8 var/mail/d/\n0 0644 0:8 var/mail/d/x \"\"\n",
	},
	{name: "directory that is there, as it is", storage: `"directories":[{"path":"/root"}]`},
	{name: "directory that is there, other mode", storage: `"directories":[{"path":"/root","mode":493}]`, want: "5 0755 0:0 root/\n"},
	{
		name: "directory replaced", storage: `"directories":[{"path":"/etc/conf.d","overwrite":true}]`,
		want: "5 0755 0:0 etc/conf.d/\n0 0000 0:0 etc/conf.d/.wh.a \"\"\n0 0000 0:0 etc/conf.d/.wh.deep \"\"\n",
	},
	{
		name: "file over a directory", storage: `"files":[{"path":"/etc/conf.d","overwrite":true,"contents":{"source":"data:,x"}}]`,
		want: "0 0644 0:0 etc/conf.d \"x\"\n",
	},
	{
		name: "append to the base", storage: `"files":[{"path":"/etc/hostname","append":[{"source":"data:,more"}]}]`,
		want: "0 0644 0:0 etc/hostname \"base\\nmore\"\n",
	},
	{
		name: "owner of a file with two names", storage: `"files":[{"path":"/usr/bin/tool","user":{"id":5}}]`,
		want: "5 0755 0:0 usr/\n5 0755 0:0 usr/bin/\n0 0755 5:0 usr/bin/alias \"tool\\n\" SCHILY.xattr.user.note=kept\n1 0755 5:0 usr/bin/tool -> usr/bin/alias\n",
	},
	{
		name: "hard link to the base", storage: `"links":[{"path":"/etc/h","target":"/etc/hostname","hard":true}]`,
		want: "0 0644 0:0 etc/h \"base\\n\"\n1 0644 0:0 etc/hostname -> etc/h\n",
	},
	{
		name: "users by name", storage: `"files":[{"path":"/etc/x","user":{"name":"bob"},"group":{"name":"mail"}},{"path":"/etc/y","user":{"name":"core"}}]`,
		want: "0 0644 1001:8 etc/x \"\"\n0 0644 1000:0 etc/y \"\"\n",
	},
	{name: "unknown user", storage: `"files":[{"path":"/etc/x","user":{"name":"bad"}}]`, err: "$.storage.files[0].user: is not in the base image's /etc/passwd"},
	{name: "user out of range", storage: `"files":[{"path":"/etc/x","user":{"id":-1}}]`, err: "$.storage.files[0].user: out of range"},
	{name: "wrong hash", storage: `"files":[{"path":"/etc/x","contents":{"source":"data:,x","verification":{"hash":"sha256-` + strings.Repeat("0", 64) + `"}}}]`, err: "$.storage.files[0].contents: content has sha256"},
	{name: "other scheme", storage: `"files":[{"path":"/etc/x","contents":{"source":"tftp://h/x"}}]`, err: `$.storage.files[0].contents: scheme "tftp"`},
	{name: "network without a fetcher", storage: `"files":[{"path":"/etc/x","contents":{"source":"https://u:secret@h/x?t=token"}}]`, err: `$.storage.files[0].contents: "https://h/x" needs the network`},
	{name: "not clean", storage: `"files":[{"path":"/etc/../x"}]`, err: "$: $.storage.files.0.path"},
	{name: "newline in a name", storage: `"files":[{"path":"/etc/a\nb"}]`, err: "$.storage.files[0].path: control character"},
	{name: "NUL in a name", storage: `"directories":[{"path":"/etc/a\u0000b"}]`, err: "$.storage.directories[0].path: control character"},
	{name: "NUL in a target", storage: `"links":[{"path":"/etc/a","target":"a\u0000b"}]`, err: "$.storage.links[0].target: NUL"},
	{name: "whiteout by name", storage: `"files":[{"path":"/etc/.wh.passwd"}]`, err: "$.storage.files[0].path: would remove files"},
	{name: "long name", storage: `"files":[{"path":"/etc/` + strings.Repeat("n", 256) + `"}]`, err: "$.storage.files[0].path: longer than 255"},
	{name: "long path", storage: `"files":[{"path":"` + strings.Repeat("/n", 2048) + `"}]`, err: "$.storage.files[0].path: longer than 4095"},
	{name: "the root, replaced", storage: `"directories":[{"path":"/","overwrite":true}]`, err: "$.storage.directories[0].path: root cannot be overwritten"},
	{name: "a link for /etc", storage: `"links":[{"path":"/etc","target":"a","overwrite":true}]`, err: "$.storage.links[0]: /etc stays a directory"},
	{name: "a file for /etc", storage: `"files":[{"path":"/etc","overwrite":true,"contents":{"source":"data:,x"}}]`, err: "$.storage.files[0]: /etc stays a directory"},
	{name: "two at one place", storage: `"files":[{"path":"/lib/x"},{"path":"/usr/lib/x"}]`, err: `$.storage.files[1]: and so does $.storage.files[0]`},
}

func TestBuild(t *testing.T) {
	base := osTree(t)
	for _, row := range buildRows {
		t.Run(row.name, func(t *testing.T) {
			config := `{"ignition":{"version":"3.4.0"},"storage":{` + row.storage + `}}`
			layer, err := Build(t.Context(), testConfig(config), base, osDeps(t, base))
			if row.err != "" {
				checkConfigError(t, err, row.err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Replace(withoutCurrent(listing(t, layer)), "5 0755 0:0 etc/\n", "", 1)
			if got != row.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, row.want)
			}
		})
	}
}

// checkConfigError wants a *ConfigError with "path: part of the message".
func checkConfigError(t *testing.T, err error, want string) {
	t.Helper()
	var refused *ConfigError
	if !errors.As(err, &refused) {
		t.Fatalf("error is %v, not a ConfigError", err)
	}
	path, part, _ := strings.Cut(want, ": ")
	if refused.Path != path || !strings.Contains(refused.Err.Error(), part) {
		t.Errorf("error is %q at %q, want %q at %q", refused.Err, refused.Path, part, path)
	}
}

func TestBuildFetch(t *testing.T) {
	base := osTree(t)
	const config = `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/x","contents":{"source":"https://h/x?q=1","httpHeaders":[{"name":"A","value":"b"}]}}]}}`
	errNet := errors.New("no route")
	for _, row := range []struct {
		name, body string
		err        error
	}{{"fetched", "body", nil}, {"fails", "", errNet}} {
		t.Run(row.name, func(t *testing.T) {
			var asked Source
			deps := Deps{Fetch: func(_ context.Context, source Source) ([]byte, error) {
				asked = source
				return []byte(row.body), row.err
			}}
			layer, err := Build(t.Context(), testConfig(config), base, deps)
			if asked.URL != "https://h/x?q=1" || asked.At != "$.storage.files[0].contents" || asked.Header["A"][0] != "b" {
				t.Errorf("asked for %+v", asked)
			}
			var refused *ConfigError
			if row.err != nil {
				if !errors.Is(err, row.err) || errors.As(err, &refused) {
					t.Errorf("error is %v", err)
				}
				return
			}
			if err != nil || !strings.Contains(listing(t, layer), `etc/x "body"`) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestBuildReadBase checks that the base's reader is asked only when there is no
// other way, and that its errors stay its own.
func TestBuildReadBase(t *testing.T) {
	base := osTree(t)
	errRead := errors.New("registry is down")
	deps := Deps{ReadBase: func(context.Context, string) ([]byte, error) { return nil, errRead }}
	for storage, fails := range map[string]bool{
		`"files":[{"path":"/etc/hostname","append":[{"source":"data:,x"}]}]`:                         true,
		`"files":[{"path":"/etc/hostname","mode":384}]`:                                              true,
		`"files":[{"path":"/etc/hostname"}]`:                                                         false,
		`"files":[{"path":"/etc/passwd","mode":384}]`:                                                false,
		`"files":[{"path":"/etc/hostname","overwrite":true,"contents":{"source":"data:,x"}}]`:        false,
		`"files":[{"path":"/etc/hostname","overwrite":true,"contents":{"source":""},"mode":0}]`:      false,
		`"links":[{"path":"/etc/hostname","overwrite":true,"target":"/etc/passwd","hard":true}]`:     false,
		`"directories":[{"path":"/etc/conf.d","overwrite":true}],"files":[{"path":"/etc/conf.d/a"}]`: false,
	} {
		config := `{"ignition":{"version":"3.4.0"},"storage":{` + storage + `}}`
		_, err := Build(t.Context(), testConfig(config), base, deps)
		if errors.Is(err, errRead) != fails || (err != nil) != fails {
			t.Errorf("%s: %v", storage, err)
		}
		_, err = Build(t.Context(), testConfig(config), base, Deps{})
		var refused *ConfigError
		if errors.As(err, &refused) != fails {
			t.Errorf("%s without a reader: %v", storage, err)
		}
	}
}

func TestBuildDeterministic(t *testing.T) {
	base := osTree(t)
	config := configOf(200, 10)
	var first []byte
	for range 5 {
		mc := testConfig(config)
		mc.Labels = map[string]string{"b": "2", "a": "1", "c": "3"}
		mc.UID, mc.ResourceVersion, mc.Generation = "u", fmt.Sprint(len(first)), int64(len(first))
		mc.CreationTimestamp = metav1.Unix(int64(len(first)), 0)
		layer, err := Build(t.Context(), mc, base, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		var raw bytes.Buffer
		if err := layer.WriteTar(&raw); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = raw.Bytes()
		}
		if !bytes.Equal(first, raw.Bytes()) {
			t.Fatal("layers differ")
		}
	}
}

func TestBuildCurrentConfig(t *testing.T) {
	base := testTree(t, layerTar(t, testNode{spec: "etc/", mode: 0o755}, testNode{spec: "etc/machine-config-daemon/", mode: 0o700}))
	mc := &mcfgv1.MachineConfig{}
	mc.Name, mc.Spec.KernelType = "rendered-x", "default"
	layer, err := Build(t.Context(), mc, base, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	got := listing(t, layer)
	for _, want := range []string{
		"5 0700 0:0 etc/machine-config-daemon/\n", "0 0600 0:0 etc/machine-config-daemon/currentconfig ",
		`\"kind\":\"MachineConfig\",\"apiVersion\":\"machineconfiguration.openshift.io/v1\"`, `\"name\":\"rendered-x\"`, `\"kernelType\":\"default\"`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestBuildCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Build(ctx, testConfig(configOf(1, 1)), osTree(t), Deps{})
	var refused *ConfigError
	if !errors.Is(err, context.Canceled) || errors.As(err, &refused) {
		t.Errorf("error is %v", err)
	}
}

// TestBuildMany bounds nothing by the clock; it would not end if the work grew
// with the square of the number of files.
func TestBuildMany(t *testing.T) {
	layer, err := Build(t.Context(), testConfig(configOf(5_000, 20)), osTree(t), Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if layer.Len() < 5_000 {
		t.Errorf("%d entries", layer.Len())
	}
}
