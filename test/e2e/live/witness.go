package live

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

// Witness looks for passwords in all that the cluster shows meanwhile: pods with their
// termination messages, ConfigMaps, Builds where there are any, pools, events, every
// container's log, and the command lines and environments of containers' processes. The
// registries' blobs are looked at when it is asked for.
type Witness struct {
	cluster *Cluster
	needles needles
	began   time.Time
	stop    context.CancelFunc
	group   sync.WaitGroup

	mu        sync.Mutex
	found     map[string]bool
	looked    map[string]int64
	following map[string]bool
}

// Witness begins to look for the passwords of logins. It ends with Stop.
func (c *Cluster) Witness(ctx context.Context, logins ...Login) *Witness {
	ctx, stop := context.WithCancel(ctx)
	w := &Witness{
		cluster: c, needles: needlesOf(logins...), began: time.Now(), stop: stop,
		found: map[string]bool{}, looked: map[string]int64{}, following: map[string]bool{},
	}
	core, pools := c.Clients.Core.CoreV1(), c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools()
	for kind, open := range map[string]opener{
		"pods":            core.Pods(Namespace).Watch,
		"configmaps":      core.ConfigMaps(Namespace).Watch,
		"builds":          c.Clients.Build.BuildV1().Builds(Namespace).Watch,
		"pools":           pools.Watch,
		"events":          core.Events(Namespace).Watch,
		"events of pools": core.Events(metav1.NamespaceDefault).Watch,
	} {
		w.group.Go(func() {
			for ctx.Err() == nil {
				w.objects(ctx, kind, open)
			}
		})
	}
	w.group.Go(func() { w.processes(ctx) })
	return w
}

// opener begins a watch, which first tells of all that is there.
type opener func(context.Context, metav1.ListOptions) (watch.Interface, error)

// Stop ends the search.
func (w *Witness) Stop() {
	w.stop()
	w.group.Wait()
}

// Found says where a password was found until now.
func (w *Witness) Found() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.found))
}

// Looked counts what was searched until now, by kind: logs by their bytes,
// anything else by how often it was looked at.
func (w *Witness) Looked() map[string]int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.looked)
}

func (w *Witness) note(kind string, amount int64, found bool, where string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked[kind] += amount
	if found {
		w.found[where] = true
	}
}

// objects looks at all objects of a kind until the watch ends, as it does from
// time to time.
func (w *Witness) objects(ctx context.Context, kind string, open opener) {
	objects, err := open(ctx, metav1.ListOptions{})
	if err != nil {
		pause(ctx, time.Second)
		return
	}
	defer objects.Stop()
	for event := range objects.ResultChan() {
		w.object(kind, event.Object)
		if pod, ok := event.Object.(*corev1.Pod); ok && event.Type != watch.Deleted {
			w.follow(ctx, pod)
		}
	}
}

func pause(ctx context.Context, length time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(length):
	}
}

func (w *Witness) object(kind string, object runtime.Object) {
	text, err := json.Marshal(object)
	name := ""
	if meta, ok := object.(metav1.Object); ok {
		name = meta.GetName()
	}
	w.note(kind, 1, err != nil || w.needles.in(text), kind+"/"+name)
}

// follow searches the log of each of a pod's containers that has begun, again
// after each restart.
func (w *Witness) follow(ctx context.Context, pod *corev1.Pod) {
	for _, status := range Containers(pod) {
		key := fmt.Sprintf("%s/%s/%d", pod.UID, status.Name, status.RestartCount)
		if status.State.Waiting != nil || w.following[key] {
			continue
		}
		w.following[key] = true // only the one watch of pods comes here
		w.group.Go(func() { w.log(ctx, pod.Name, status.Name) })
	}
}

func (w *Witness) log(ctx context.Context, pod, container string) {
	options := &corev1.PodLogOptions{Container: container, Follow: true}
	stream, err := w.cluster.Clients.Core.CoreV1().Pods(Namespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return // the pod is gone
	}
	defer stream.Close()
	w.stream("log of "+container, "log of pod/"+pod+", container "+container, stream)
}

// stream searches to the end, or until it breaks off as a log of a pod that is
// deleted does.
func (w *Witness) stream(kind, where string, from io.Reader) {
	counted := reads{from, func(n int) { w.note(kind, int64(n), false, where) }}
	found, _ := w.needles.inStream(counted)
	w.note(kind, 0, found, where)
}

// reads tells of each read: a log that is followed has no end for long.
type reads struct {
	io.Reader
	tell func(n int)
}

// Read implements io.Reader.
func (r reads) Read(into []byte) (int, error) {
	n, err := r.Reader.Read(into)
	r.tell(n)
	return n, err
}

// processes looks at the processes of containers.
func (w *Witness) processes(ctx context.Context) {
	for ctx.Err() == nil {
		groups, _ := filepath.Glob("/proc/[0-9]*/cgroup") // the pattern is good
		for _, group := range groups {
			if text, err := os.ReadFile(group); err == nil && strings.Contains(string(text), "kubepods") {
				w.process(filepath.Dir(group))
			}
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func (w *Witness) process(dir string) {
	line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
	if err != nil {
		return // it has ended
	}
	environment, _ := os.ReadFile(filepath.Join(dir, "environ")) // as above
	program, _, _ := strings.Cut(string(line), "\x00")
	w.note("processes", 1, w.needles.in(line), "command line of "+program)
	w.note("processes", 0, w.needles.in(environment), "environment of "+program)
}
