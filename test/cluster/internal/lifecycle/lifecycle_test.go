package lifecycle

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/cluster/internal/layout"
)

func TestParseNodeReady(t *testing.T) {
	rows := []struct{ name, node, err string }{
		{"ready", `{"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":"True"}]}}`, ""},
		{"not ready", `{"status":{"conditions":[{"type":"Ready","status":"False","message":"cni is missing"}]}}`, "cni is missing"},
		{"unknown", `{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`, "not ready"},
		{"still tainted", `{"spec":{"taints":[{"key":"node.kubernetes.io/not-ready"}]},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, "taint node.kubernetes.io/not-ready"},
		{"just registered", `{}`, "not reported"},
		{"no JSON", `<html>`, "reading the node"},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			err := parseNodeReady([]byte(r.node))
			if r.err == "" && err != nil || r.err != "" && (err == nil || !strings.Contains(err.Error(), r.err)) {
				t.Errorf("got %v, want %q", err, r.err)
			}
		})
	}
}

func cluster(t *testing.T) Cluster {
	t.Helper()
	return Cluster{Dirs: layout.Dirs{Work: t.TempDir()}, Progress: io.Discard}
}

func TestLoadWithoutACluster(t *testing.T) {
	c := cluster(t)
	if _, err := c.Load(); !errors.Is(err, ErrDown) {
		t.Errorf("nothing there: %v", err)
	}
	// As after a SIGKILL of everything: the state is there, no daemon is.
	if err := c.save(State{Key: "k"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Load(); !errors.Is(err, ErrDown) || !strings.Contains(err.Error(), "etcd does not run") {
		t.Errorf("dead cluster: %v", err)
	}
}

func TestWaitForEndsWithTheDaemon(t *testing.T) {
	never := errors.New("not yet")
	start := time.Now()
	err := cluster(t).waitFor(context.Background(), "the API server", time.Minute, func(context.Context) error { return never }, "etcd")
	if err == nil || !strings.Contains(err.Error(), "etcd ended") || time.Since(start) > 10*time.Second {
		t.Errorf("got %v after %s", err, time.Since(start))
	}
}

func TestWaitForGivesTheLastError(t *testing.T) {
	never := errors.New("not yet")
	if err := cluster(t).waitFor(context.Background(), "x", 10*time.Millisecond, func(context.Context) error { return never }); !errors.Is(err, never) {
		t.Errorf("got %v", err)
	}
}
