package integration

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
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
	program := buildExecutor(t)
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

// buildExecutor builds the program.
func buildExecutor(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "build-executor")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/build-executor").CombinedOutput(); err != nil {
		t.Fatalf("building the program: %v\n%s", err, out)
	}
	return program
}

// TestBuildExecutorOnOpenShift: where an API server of its own serves Builds, the program
// ends, and says why.
func TestBuildExecutorOnOpenShift(t *testing.T) {
	program := buildExecutor(t)
	cluster, err := controlplane.Start(t.Context(), t.TempDir(), filepath.Join("..", "..", "manifests", "overlays", "kubernetes"))
	must(t, err)
	defer cluster.Stop()
	builds := filepath.Join("..", "..", "manifests", "builds")
	_, err = cluster.Kubectl(t.Context(), "", "apply", "--server-side", "-k", builds)
	must(t, err)
	_, err = cluster.Kubectl(t.Context(), "", "delete", "--wait", "-k", filepath.Join(builds, "crd"))
	must(t, err)
	// The API server's own APIService of a definition goes with it.
	_, err = cluster.Kubectl(t.Context(), "", "wait", "--for=delete", "--timeout=60s", "apiservice/v1.build.openshift.io")
	must(t, err)
	_, err = cluster.Kubectl(t.Context(), `{"apiVersion":"apiregistration.k8s.io/v1","kind":"APIService","metadata":{"name":"v1.build.openshift.io"},"spec":{
		"group":"build.openshift.io","version":"v1","groupPriorityMinimum":9900,"versionPriority":15,"insecureSkipTLSVerify":true,"service":{"namespace":"openshift-apiserver","name":"api"}}}`, "create", "-f", "-")
	must(t, err)
	config, err := cluster.ServiceAccount(t.Context(), namespace, "build-executor")
	must(t, err)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, controlplane.WriteKubeconfig(kubeconfig, cluster.Config.Host, config))
	ctx, cancel := context.WithTimeout(t.Context(), settle)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--kubeconfig", kubeconfig, "--builder-image", "registry.example.com/builder:1", "--health-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("it ends with %v:\n%s", err, out)
	}
	if !strings.Contains(string(out), `build-executor: `) || !strings.Contains(string(out), `APIService "v1.build.openshift.io" is served by the Service "api", as on OpenShift`) {
		t.Errorf("it says:\n%s", out)
	}
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
