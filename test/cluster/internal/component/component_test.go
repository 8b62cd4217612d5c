package component

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
)

var update = flag.Bool("update", false, "write the golden files anew")

var dirs = layout.Dirs{Work: "/work-dir", Bin: "/cache/bin", Images: "/cache/images", Project: "/project"}

func TestGoldens(t *testing.T) {
	var commands strings.Builder
	daemons := Daemons(dirs, "/cache/bin/key")
	for _, name := range Order() {
		commands.WriteString(daemons[name].Path + "\n  " + strings.Join(daemons[name].Args, "\n  ") + "\n")
	}
	rows := map[string]string{
		"commands.txt":       commands.String(),
		"containerd.toml":    ContainerdConfig(dirs),
		"kubelet.yaml":       KubeletConfig(dirs),
		"registry.yaml":      RegistryConfig(dirs, "registry", layout.Registry, ""),
		"registry-auth.yaml": RegistryConfig(dirs, "registry-auth", layout.AuthRegistry, "/work-dir/pki/htpasswd"),
		"kubeconfig.yaml":    Kubeconfig(dirs, "secret"),
		"cni.json":           CNIConfig(dirs),
		"hosts.toml":         RegistryHosts(dirs, layout.Registry),
	}
	for name, got := range rows {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s (-update writes it):\n%s", path, got)
			}
		})
	}
}

func TestEveryDaemonIsRendered(t *testing.T) {
	daemons := Daemons(dirs, "/bin")
	if len(daemons) != len(Order()) {
		t.Errorf("%d daemons, %d in the starting order", len(daemons), len(Order()))
	}
	for _, name := range Order() {
		if daemons[name].Name != name {
			t.Errorf("daemon %q is not rendered", name)
		}
	}
}

func TestCNIConfigIsJSON(t *testing.T) {
	if !json.Valid([]byte(CNIConfig(dirs))) {
		t.Error("the CNI configuration is no JSON")
	}
}

func TestTokenLine(t *testing.T) {
	got := User{Name: "x", User: "system:node:n", Groups: "system:nodes"}.TokenLine("abc")
	if want := "abc,system:node:n,system:node:n,\"system:nodes\"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
