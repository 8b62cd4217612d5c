package differential

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
)

const examples = "../../pkg/configlayer/testdata/configs/*.json"

// readConfigs reads Ignition configs by name; the reference knows no spec 2, so
// those are handed on as pkg/ignition converts them.
func readConfigs(t *testing.T, pattern string) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no configs in %s: %v", pattern, err)
	}
	configs := map[string]string{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(path, "spec2") {
			cfg, _, err := ignition.Parse(raw, spec2.Convert)
			if err != nil {
				t.Fatal(err)
			}
			if raw, err = json.Marshal(cfg); err != nil {
				t.Fatal(err)
			}
		}
		configs[strings.TrimSuffix(filepath.Base(path), ".json")] = string(raw)
	}
	return configs
}

// realConfigs returns the Ignition configs of the real MachineConfigs, if they
// are there.
func realConfigs(t *testing.T) map[string]string {
	t.Helper()
	dir := os.Getenv("MOB_TEST_DATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	configs := map[string]string{}
	type machineConfig struct {
		Metadata struct{ Name string }
		Spec     struct{ Config json.RawMessage }
		Items    []struct {
			Metadata struct{ Name string }
			Spec     struct{ Config json.RawMessage }
		}
	}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var mc machineConfig
		if err := json.Unmarshal(raw, &mc); err != nil {
			t.Fatal(err)
		}
		if len(mc.Spec.Config) > 0 {
			configs[mc.Metadata.Name] = string(mc.Spec.Config)
		}
		for _, item := range mc.Items {
			if len(item.Spec.Config) > 0 {
				configs[item.Metadata.Name] = string(item.Spec.Config)
			}
		}
	}
	return configs
}

func TestExamples(t *testing.T) {
	needReference(t)
	base := smallImage(t)
	for name, config := range readConfigs(t, examples) {
		t.Run(name, func(t *testing.T) {
			if !checkSame(t, base, config) {
				t.Error("refused")
			}
		})
	}
}

func TestRealConfigs(t *testing.T) {
	needReference(t)
	configs := realConfigs(t)
	if len(configs) == 0 {
		t.Skip("no MachineConfigs in MOB_TEST_DATA, nor beside the repository")
	}
	base := smallImage(t)
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			if !checkSame(t, base, config) {
				t.Error("refused")
			}
		})
	}
}

// edges are configs about one thing each. Those that both must refuse say so.
var edges = []struct {
	name, config string
	refused      bool
}{
	{"directory over a link", `"directories":[{"path":"/usr/local"}]`, true},
	{"directory over a link, overwritten", `"directories":[{"path":"/usr/local","overwrite":true}]`, false},
	{"below a file", `"files":[{"path":"/etc/hostname/x"}]`, true},
	{"below a link to a file", `"files":[{"path":"/tofile/x"}]`, true},
	{"below a loop", `"files":[{"path":"/loop/x"}]`, true},
	{"below a link to nowhere", `"files":[{"path":"/srv/x"}]`, false},
	{"below a link to a link to nowhere", `"files":[{"path":"/mnt/x"}]`, true},
	{"below a chain of links", `"files":[{"path":"/chain/x"}]`, false},
	{"out of the root", `"files":[{"path":"/outside/x"}]`, false},
	{"two names of one place", `"files":[{"path":"/opt/x"},{"path":"/var/opt/x"}]`, true},
	{"through a link of the config by another name", `"links":[{"path":"/usr/local/d","target":"/etc"}],"files":[{"path":"/var/usrlocal/d/deep/x"}]`, false},
	{"existing file", `"files":[{"path":"/etc/hostname","contents":{"source":"data:,x"}}]`, true},
	{"existing file, mode only", `"files":[{"path":"/etc/secret","mode":420}]`, false},
	{"existing file, nothing", `"files":[{"path":"/usr/bin/sgid"}]`, false},
	{"existing file with three names, owner", `"files":[{"path":"/usr/bin/tool","user":{"id":5}}]`, false},
	{"append to one of three names", `"files":[{"path":"/usr/libexec/tool","append":[{"source":"data:,more"}]}]`, false},
	{"overwrite one of three names", `"files":[{"path":"/usr/bin/tool","overwrite":true,"contents":{"source":"data:,x"}}]`, false},
	{"fourth name", `"links":[{"path":"/usr/bin/fourth","target":"/usr/bin/tool","hard":true}]`, false},
	{"hard link to a link", `"links":[{"path":"/etc/lt","target":"/etc/localtime","hard":true}]`, false},
	{"hard link to a directory", `"links":[{"path":"/etc/lt","target":"/usr/share","hard":true}]`, true},
	{"hard link that is there", `"links":[{"path":"/usr/libexec/tool","target":"/usr/bin/tool","hard":true}]`, false},
	{"link that is there", `"links":[{"path":"/etc/localtime","target":"../usr/share/zone"}]`, false},
	{"link to elsewhere is there", `"links":[{"path":"/etc/localtime","target":"x"}]`, true},
	{"link takes its target's owner", `"links":[{"path":"/etc/l","target":"secret"}]`, false},
	{"setgid directory", `"files":[{"path":"/var/mail/new/er/x"}],"links":[{"path":"/var/mail/l","target":"gone"}]`, false},
	{"users of a passwd that the config writes", `"files":[{"path":"/etc/passwd","overwrite":true,"contents":{"source":"data:,amy:x:77:78::/:/bin/sh%0A"}},{"path":"/etc/conf.d/x","user":{"name":"amy"}}]`, false},
	{"users of the old passwd", `"files":[{"path":"/etc/passwd","overwrite":true,"contents":{"source":"data:,amy:x:77:78::/:/bin/sh%0A"}},{"path":"/etc/conf.d/x","user":{"name":"bob"}}]`, true},
	{"unknown group", `"files":[{"path":"/etc/x","group":{"name":"nobody-here"}}]`, true},
	{"empty user name", `"files":[{"path":"/etc/x","user":{"name":""}}]`, false},
	{"the root's mode", `"directories":[{"path":"/","mode":448}]`, false},
	{"wrong hash", `"files":[{"path":"/etc/x","contents":{"source":"data:,x","verification":{"hash":"sha256-8f434346648f6b96df89dda901c5176b10a6d83961dd3c1ac88b59b2dc327aa4"}}}]`, true},
	{"not gzip", `"files":[{"path":"/etc/x","contents":{"source":"data:,x","compression":"gzip"}}]`, true},
	{"network", `"files":[{"path":"/etc/x","contents":{"source":"http://127.0.0.1:1/x"}}]`, true},
	{"names of many kinds", `"files":[{"path":"/etc/with blank","contents":{"source":"data:,x"}},{"path":"/etc/üñí","contents":{"source":"data:,y"}},{"path":"/etc/-dash"}]`, false},
	{"long path", `"files":[{"path":"/etc/` + strings.Repeat("d/", 200) + strings.Repeat("n", 200) + `","contents":{"source":"data:,x"}}]`, false},
	{"large owner", `"files":[{"path":"/etc/x","user":{"id":60001},"group":{"id":60002}}]`, false},
}

func TestEdges(t *testing.T) {
	needReference(t)
	base := smallImage(t)
	for _, edge := range edges {
		t.Run(edge.name, func(t *testing.T) {
			config := `{"ignition":{"version":"3.4.0"},"storage":{` + edge.config + `}}`
			if accepted := checkSame(t, base, config); accepted == edge.refused {
				t.Errorf("accepted: %v", accepted)
			}
		})
	}
}

// TestMerged holds the configs that one config refers to against the reference's.
func TestMerged(t *testing.T) {
	needReference(t)
	base := smallImage(t)
	const child = `data:;base64,eyJpZ25pdGlvbiI6eyJ2ZXJzaW9uIjoiMy4xLjAifSwic3RvcmFnZSI6eyJmaWxlcyI6W3sicGF0aCI6Ii9ldGMvbWVyZ2VkIiwibW9kZSI6Mzg0LCJjb250ZW50cyI6eyJzb3VyY2UiOiJkYXRhOixjaGlsZCJ9fV19fQ==`
	for name, config := range map[string]string{
		"merge":   `{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"` + child + `"}]}},"storage":{"files":[{"path":"/etc/merged","mode":420,"contents":{"source":"data:,parent"}},{"path":"/etc/own"}]}}`,
		"replace": `{"ignition":{"version":"3.4.0","config":{"replace":{"source":"` + child + `"}}},"storage":{"files":[{"path":"/etc/own"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			if !checkSame(t, base, config) {
				t.Error("refused")
			}
		})
	}
}
