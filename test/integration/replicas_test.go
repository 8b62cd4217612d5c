package integration

import (
	"fmt"
	"maps"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// replicas are two processes of the program that want the same lease, and a
// cluster in which every build runs until it is told to end.
type replicas struct {
	*world
	program string
	nodes   *kubelet.Kubelet
	mu      sync.Mutex
	pods    map[types.UID]string // the configs of the builds that were started
	// processes are all that were started.
	processes []*replica
}

// replica is one process.
type replica struct {
	cmd    *exec.Cmd
	output output
	proxy  *proxy
	// ended gives the time when the process has ended; err is how.
	ended chan time.Time
	err   error
}

// output is what a process printed so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// takeOver is the longest that another replica may take once a leader is dead:
// its lease and the tries for it, and what a busy machine adds.
const takeOver = 60 * time.Second

func newReplicas(t *testing.T) *replicas {
	t.Helper()
	r := &replicas{world: newWorld(t), program: buildProgram(t), pods: map[types.UID]string{}}
	err := r.Admin.Core.CoordinationV1().Leases(namespace).Delete(r.ctx, "machine-os-builder", metav1.DeleteOptions{})
	if !apierrors.IsNotFound(err) {
		must(t, err)
	}
	registry := kubelet.NewRegistry()
	t.Cleanup(registry.Close)
	r.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: registry.Host + "/os/images", api.KeyImageBuilderType: api.BuilderCustomPod})
	r.setting(api.ConfigMapServiceCA, map[string]string{api.ServiceCAKey: string(registry.CA)})
	r.nodes = kubelet.New(kubelet.Options{Client: r.Admin.Core, Namespace: namespace, Registry: registry, Script: func(pod *corev1.Pod) kubelet.Script {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.pods[pod.UID] = pod.Annotations[api.AnnotationRenderedConfig]
		return kubelet.Script{Outcome: kubelet.Hang}
	}})
	var nodes sync.WaitGroup
	nodes.Go(func() { r.nodes.Run(r.ctx) })
	t.Cleanup(nodes.Wait)
	return r
}

// end lets the builds of a config succeed.
func (r *replicas) end(config string) {
	r.mu.Lock()
	pods := maps.Clone(r.pods) // the kubelet holds a lock of its own while it asks for a script
	r.mu.Unlock()
	for uid, of := range pods {
		if of == config {
			r.nodes.End(uid, kubelet.Succeed)
		}
	}
}

// start runs a replica that reaches the API server through a proxy of its own.
func (r *replicas) start() *replica {
	r.t.Helper()
	server, err := url.Parse(plane.Config.Host)
	must(r.t, err)
	out := &replica{proxy: newProxy(r.t, server.Host), ended: make(chan time.Time, 1)}
	kubeconfig := filepath.Join(r.t.TempDir(), "kubeconfig")
	must(r.t, controlplane.WriteKubeconfig(kubeconfig, "https://"+out.proxy.address, r.controllerConfig()))
	r.run(out, kubeconfig)
	r.processes = append(r.processes, out)
	return out
}

func (r *replicas) run(out *replica, kubeconfig string) {
	r.t.Helper()
	ports, err := controlplane.FreeAddresses(2)
	must(r.t, err)
	out.cmd = exec.Command(r.program, "--kubeconfig", kubeconfig, "--builder-image", "registry.example.com/builder:1",
		"--health-address", ports[0], "--metrics-address", ports[1])
	out.cmd.Stdout, out.cmd.Stderr = &out.output, &out.output
	must(r.t, out.cmd.Start())
	r.t.Cleanup(func() { _ = out.cmd.Process.Kill() }) // most often it has ended
	go func() {
		out.err = out.cmd.Wait()
		out.ended <- time.Now()
	}()
}

// leads waits until somebody other than a former leader holds the lease, and
// returns who and since when.
func (r *replicas) leads(former string) (string, time.Time) {
	r.t.Helper()
	var holder string
	var since time.Time
	r.within(takeOver, "somebody else leads", func() error {
		lease, err := r.Admin.Core.CoordinationV1().Leases(namespace).Get(r.ctx, "machine-os-builder", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || *lease.Spec.HolderIdentity == former {
			return fmt.Errorf("held by %q", former)
		}
		holder, since = *lease.Spec.HolderIdentity, lease.Spec.AcquireTime.Time
		return nil
	})
	return holder, since
}

// running starts two replicas and lets the first begin a build.
func (r *replicas) running() (leader, other *replica, name string) {
	r.t.Helper()
	leader = r.start()
	name, _ = r.leads("")
	other = r.start()
	r.addPool("worker", "rendered-worker-a1")
	r.patchPool("worker", optIn)
	r.verdict("worker", "Building", api.ReasonBuildRunning)
	return leader, other, name
}

// finishes lets the build of a config end and waits for its image.
func (r *replicas) finishes(config string) {
	r.t.Helper()
	r.within(takeOver, "the image of "+config, func() error {
		r.end(config)
		if a := r.pool("worker").Annotations; a[api.AnnotationImageConfig] != config {
			return fmt.Errorf("annotations are %v", a)
		}
		return nil
	})
}

// builds checks how many builds there ever were.
func (r *replicas) builds(want int) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pods) != want {
		r.t.Errorf("builds of %v were started, want %d", r.pods, want)
		for _, p := range r.processes {
			r.t.Logf("%s", p.output.String())
		}
	}
}

// TestS19LeaderKilled: the other replica takes over within the lease, goes on with
// the build, and starts the next.
func TestS19LeaderKilled(t *testing.T) {
	r := newReplicas(t)
	leader, _, name := r.running()
	killed := time.Now()
	must(t, leader.cmd.Process.Kill())
	r.end("rendered-worker-a1") // nobody looks
	_, since := r.leads(name)
	t.Logf("FIGURE leader killed: the other leads after %.1f s", since.Sub(killed).Seconds())
	r.finishes("rendered-worker-a1")
	t.Logf("FIGURE leader killed: the result of its build is annotated after %.1f s", time.Since(killed).Seconds())
	r.builds(1)
	r.addConfig("rendered-worker-b1", "other")
	r.patchPool("worker", retarget("rendered-worker-b1"))
	r.finishes("rendered-worker-b1")
	r.builds(2)
}

// TestS19LeaderStopped: with SIGTERM it gives the lease back.
func TestS19LeaderStopped(t *testing.T) {
	r := newReplicas(t)
	leader, _, name := r.running()
	stopped := time.Now()
	must(t, leader.cmd.Process.Signal(syscall.SIGTERM))
	_, since := r.leads(name)
	t.Logf("FIGURE leader stopped: the other leads after %.1f s", since.Sub(stopped).Seconds())
	if <-leader.ended; leader.err != nil {
		t.Errorf("the stopped leader ended with %v:\n%s", leader.err, leader.output.String())
	}
	r.finishes("rendered-worker-a1")
	r.builds(1)
}

// TestS19LeaderPartitioned: a leader that the network has cut off ends before the
// other replica leads, and whatever it wanted to do is not done when the
// network is back.
func TestS19LeaderPartitioned(t *testing.T) {
	r := newReplicas(t)
	leader, _, name := r.running()
	cut := time.Now()
	leader.proxy.cut()
	// What it would act on, if it could still see it.
	r.addConfig("rendered-worker-b1", "other")
	r.patchPool("worker", retarget("rendered-worker-b1"))
	_, since := r.leads(name)
	ended := <-leader.ended
	t.Logf("FIGURE leader partitioned: it ends after %.1f s, the other leads after %.1f s", ended.Sub(cut).Seconds(), since.Sub(cut).Seconds())
	if leader.err == nil || !strings.Contains(leader.output.String(), "lease was lost") {
		t.Errorf("the leader that was cut off ended with %v:\n%s", leader.err, leader.output.String())
	}
	if ended.After(since) {
		t.Errorf("the leader that was cut off worked for %v beside the other:\n%s", ended.Sub(since), leader.output.String())
	}
	leader.proxy.mend()
	again := r.start() // as the kubelet does
	r.finishes("rendered-worker-b1")
	r.builds(2)
	select {
	case <-again.ended:
		t.Errorf("the replica that came back ended with %v:\n%s", again.err, again.output.String())
	default:
	}
}
