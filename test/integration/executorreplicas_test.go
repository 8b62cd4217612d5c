package integration

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

// TestTwoBuildExecutors want the same lease: one works, and when it is killed the other
// goes on with its Build.
func TestTwoBuildExecutors(t *testing.T) {
	w := newBuildWorld(t)
	program := filepath.Join(t.TempDir(), "build-executor")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/build-executor").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	config, err := plane.ServiceAccount(w.ctx, namespace, "build-executor")
	must(t, err)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, controlplane.WriteKubeconfig(kubeconfig, plane.Config.Host, config))
	first := w.process(program, kubeconfig)
	holder := w.leader("")
	w.process(program, kubeconfig)
	w.create(w.newBuild("app-1"))
	w.play("app-1", podRuns)
	w.reaches("app-1", buildv1.BuildPhaseRunning, "")
	w.toldOf("app-1", "BuildStarted 1") // events are sent in the background
	killed := time.Now()
	must(t, first.Process.Kill())
	w.play("app-1", podSucceeds) // nobody looks
	w.leader(holder)
	w.reaches("app-1", buildv1.BuildPhaseComplete, "")
	t.Logf("FIGURE executor killed: its Build is complete after %.1f s", time.Since(killed).Seconds())
	w.create(w.newBuild("app-2"))
	w.reaches("app-2", buildv1.BuildPhasePending, "")
	pods, err := w.Admin.Core.CoreV1().Pods(w.namespace).List(w.ctx, metav1.ListOptions{})
	must(t, err)
	if len(pods.Items) != 2 {
		t.Errorf("%d pods", len(pods.Items))
	}
	w.toldOf("app-1", "BuildCompleted 1", "BuildStarted 1")
}

// process runs the program for Builds of this namespace.
func (w *buildWorld) process(program, kubeconfig string) *exec.Cmd {
	w.t.Helper()
	ports, err := controlplane.FreeAddresses(2)
	must(w.t, err)
	var out output
	cmd := exec.Command(program, "--kubeconfig", kubeconfig, "--builder-image", "registry.example.com/builder:1", "--namespace", w.namespace,
		"--health-address", ports[0], "--metrics-address", ports[1],
		"--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms")
	cmd.Stdout, cmd.Stderr = &out, &out
	must(w.t, cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if w.t.Failed() {
			w.t.Logf("%s", out.String())
		}
	})
	return cmd
}

// leader waits until somebody other than a former leader holds the lease.
func (w *buildWorld) leader(former string) string {
	w.t.Helper()
	var holder string
	eventually(w.t, takeOver, "somebody else leads", func() error {
		lease, err := w.Admin.Core.CoordinationV1().Leases(namespace).Get(w.ctx, "build-executor", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || *lease.Spec.HolderIdentity == former {
			return fmt.Errorf("held by %q", former)
		}
		holder = *lease.Spec.HolderIdentity
		return nil
	})
	return holder
}
