package integration

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

// TestBinaryServesAndGivesTheLeaseBack runs the program itself: it takes the
// lease, serves health and metrics, and on SIGTERM ends well and lets go.
func TestBinaryServesAndGivesTheLeaseBack(t *testing.T) {
	w := newWorld(t)
	program := buildProgram(t)
	ports, err := controlplane.FreeAddresses(2)
	must(t, err)
	cmd := exec.Command(program, "--kubeconfig", plane.Kubeconfig, "--builder-image", "registry.example.com/builder:1",
		"--health-address", ports[0], "--metrics-address", ports[1])
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has ended when all went well

	w.eventually("the program is healthy and ready", func() error {
		for _, path := range []string{"/healthz", "/readyz"} {
			if _, err := fetch("http://" + ports[0] + path); err != nil {
				return err
			}
		}
		return nil
	})
	w.eventually("the lease is held", func() error {
		if holder := w.leaseHolder(); holder == "" {
			return fmt.Errorf("nobody holds it")
		}
		return nil
	})
	w.addPool("measured", "rendered-measured-1")
	w.patchPool("measured", optIn)
	w.eventually("it is measured", func() error {
		metrics, err := fetch("http://" + ports[1] + "/metrics")
		for _, sample := range []string{
			`workqueue_adds_total{name="osbuild"}`, `workqueue_adds_total{name="retention"}`, `leader_election_master_status{name="machine-os-builder"} 1`,
			`ocl_build_state{pool="measured",`, `ocl_active_builds{pool="measured"}`, `ocl_build_total{pool="measured",state="succeeded"} 0`,
			`ocl_image_deletions_total{state="deleted"} 0`, `ocl_api_writes_total{resource="leases"}`,
		} {
			if err == nil && !strings.Contains(metrics, "\n"+sample) {
				err = fmt.Errorf("no %s", sample)
			}
		}
		return err
	})
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, output.String())
	}
	if holder := w.leaseHolder(); holder != "" {
		t.Errorf("the lease is still held by %s", holder)
	}
}

func buildProgram(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "machine-os-builder")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/machine-os-builder").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return program
}

func (w *world) leaseHolder() string {
	w.t.Helper()
	lease, err := w.Admin.Core.CoordinationV1().Leases(namespace).Get(w.ctx, "machine-os-builder", metav1.GetOptions{})
	if err != nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// fetch returns the body of an answer that says 200.
func fetch(url string) (string, error) {
	response, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s says %s", url, response.Status)
	}
	return string(body), err
}
