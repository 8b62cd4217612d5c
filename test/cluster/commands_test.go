package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/lifecycle"
)

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"start"}, {"up", "now"}, {"load-image"}, {"push-image", "x"}, {"images", "x"}} {
		if err := run(context.Background(), args, io.Discard, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestKubeconfigPath(t *testing.T) {
	t.Setenv("MOB_CLUSTER_DIR", "/w")
	var out bytes.Buffer
	if err := run(context.Background(), []string{"kubeconfig"}, &out, io.Discard); err != nil || out.String() != "/w/kubeconfig/admin\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

// The output is made for eval: a real shell must read it back unchanged.
func TestVariablesAreReadByAShell(t *testing.T) {
	const password = `it's $HOME "quoted"`
	text := variables(layout.Dirs{Work: "/w x"}, lifecycle.State{Bin: "/b", Password: password, BuilderImage: "r/b:1"})
	out, err := exec.Command("sh", "-c", text+`printf '%s|%s|%s' "$KUBECONFIG" "$AUTH_REGISTRY_PASSWORD" "$BUILDER_IMAGE"`).Output()
	if want := strings.Join([]string{"/w x/kubeconfig/admin", password, "r/b:1"}, "|"); err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}
