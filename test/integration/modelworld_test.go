package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/chosen"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/openshiftbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/pod"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/retention"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// modelRepository is where all images of the model go.
const modelRepository = "os/model"

// hurry is how much faster than time the controller's clock runs.
const hurry = 20

// pushSecret is named by the settings.
const pushSecret = "model-push"

// poolName finds the pool that a request is about.
var poolName = regexp.MustCompile(`p\d{6}`)

// batch is many pools under one controller, each with a sequence of its own,
// and a weather that meets all of them.
type batch struct {
	t        *testing.T
	ctx      context.Context
	random   *rand.Rand // of the weather
	admin    kube.Clients
	config   *rest.Config // the controller's
	registry *kubelet.Registry
	still    bool // without weather
	builds   bool // by Builds, not in pods of the controller's own
	clock    fastClock
	monitor  *monitor
	mirror   *kube.Informers // what the administrator sees
	nodes    *kubelet.Kubelet
	owner    metav1.OwnerReference
	pools    []*subject

	mu   sync.Mutex
	calm bool
	// requests counts those of the controller, writes are among them; latest is when the last was made.
	requests int
	writes   int
	latest   time.Time
	killIn   int // writes until the controller is killed; 0 for never
	// awaitsKill is true while somebody will start another one.
	awaitsKill bool
	process    *process
	base       int // of the base image
	keep       int // images
	end        context.CancelFunc
	laps       []string // when its parts were done
}

// process is a controller that runs.
type process struct {
	wire *wire
	stop context.CancelFunc
	done chan struct{}
}

// launch starts a controller, which lists everything afresh.
func (b *batch) launch() *process {
	ctx, stop := context.WithCancel(klog.NewContext(b.ctx, klog.New(storyteller{monitor: b.monitor})))
	p := &process{stop: stop, done: make(chan struct{})}
	random := rand.New(rand.NewPCG(b.random.Uint64(), 0))
	var mu sync.Mutex
	chance := func(of int) int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(of)
	}
	p.wire = &wire{
		clock: b.clock, around: b.around,
		lag: func() time.Duration {
			switch n := chance(20); {
			case b.still || b.isCalm() || n > 4:
				return 0
			case n > 0:
				return time.Duration(chance(60)) * time.Millisecond
			default:
				return time.Duration(chance(400)) * time.Millisecond
			}
		},
		twice: func() bool { return !b.still && chance(20) == 0 },
	}
	config := rest.CopyConfig(b.config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { p.wire.next = next; return p.wire })
	clients, err := kube.NewClients(config)
	must(b.t, err)
	informers, err := kube.NewInformers(clients, namespace)
	must(b.t, err)
	loop, err := osbuild.New(osbuild.Options{
		Clients: clients, Informers: informers, Namespace: namespace, BuilderImage: "registry.example.com/builder:1",
		Backend: chosen.New(map[string]backend.Backend{
			api.BuilderCustomPod: pod.New(clients.Core, informers, namespace), api.BuilderOpenShift: openshiftbuild.New(clients, informers, namespace),
		}),
		Recorder: &record.FakeRecorder{}, Metrics: metrics.NewBuilds(prometheus.NewRegistry()), Clock: b.clock,
	})
	must(b.t, err)
	keeper, err := retention.New(retention.Options{
		Clients: clients, Informers: informers, Namespace: namespace, Recorder: &record.FakeRecorder{}, Metrics: metrics.NewImages(prometheus.NewRegistry()),
		Clock: b.clock, Grace: modelGrace,
	})
	must(b.t, err)
	go func() {
		defer close(p.done)
		if informers.Start(ctx) != nil {
			return
		}
		var loops sync.WaitGroup
		loops.Go(func() { loop.Run(ctx) })
		loops.Go(func() { keeper.Run(ctx) })
		loops.Wait()
	}()
	return p
}

// kill ends a controller without any of its last requests being heard.
func (p *process) kill() {
	p.wire.kill()
	p.stop()
	<-p.done
}

func (b *batch) isCalm() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calm
}

// restart replaces the controller, some time after it was killed.
func (b *batch) restart(after time.Duration) {
	b.mu.Lock()
	old := b.process
	b.mu.Unlock()
	old.kill()
	b.sleep(after)
	p := b.launch()
	b.mu.Lock()
	b.process = p
	b.mu.Unlock()
	b.everyone("the controller was killed and starts again")
}

func (b *batch) everyone(format string, args ...any) {
	for _, p := range b.pools {
		b.monitor.tell(p.name, "WORLD "+format, args...)
	}
}

func (b *batch) sleep(d time.Duration) {
	select {
	case <-b.ctx.Done():
	case <-time.After(d):
	}
}

// around is where requests fail and controllers are killed.
func (b *batch) around(r *http.Request, about string, send func() (*http.Response, error)) (*http.Response, error) {
	name, fault, killed := poolName.FindString(about), "", false
	var step <-chan struct{}
	b.mu.Lock()
	for _, p := range b.pools {
		if p.name == name && !b.calm {
			fault, step = p.countLocked(r.Method != http.MethodGet), p.passLocked()
		}
	}
	b.requests++
	b.latest = time.Now()
	if r.Method != http.MethodGet {
		b.writes++
		if b.killIn > 0 {
			b.killIn--
			killed = b.killIn == 0
		}
	}
	process := b.process
	b.mu.Unlock()
	if step != nil {
		<-step
	}
	if fault == "conflict" && r.Method != http.MethodPut && r.Method != http.MethodPatch {
		fault = "server error"
	}
	if name != "" && (step != nil || r.Method != http.MethodGet || fault != "") {
		b.monitor.tell(name, "  %s %s %s", r.Method, r.URL.Path[strings.LastIndex(r.URL.Path, "/v1/")+4:], fault)
	}
	if image := resultIn(r, about); image != "" && name != "" {
		send = b.monitor.guard(name, image, send)
	}
	switch fault {
	case "":
	case fate:
		_, _ = send() // whatever it says, nobody will hear
		return nil, errKilled
	case frozen:
		return nil, errKilled
	default:
		return faults[fault](r, send)
	}
	response, err := send()
	if killed && b.killAwaited(process) {
		b.everyone("the controller is killed after a write about %s", name)
	}
	return response, err
}

// killAwaited kills a controller, unless nobody waits any more to start another.
func (b *batch) killAwaited(p *process) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.awaitsKill && p != nil && p == b.process {
		p.wire.kill()
		return true
	}
	return false
}

// Faults of a controller that is killed after a write about one pool, while it
// goes on about others: fate is that of this write, frozen that of all later
// requests, until the process is killed for all.
const (
	fate   = "the last write"
	frozen = "the controller is dead for it"
)

// countLocked counts a request and returns the fault that it meets.
func (p *subject) countLocked(write bool) string {
	if p.frozen {
		return frozen
	}
	p.requests++
	fault := p.faults[p.requests]
	if write {
		p.writes++
		if f := p.writeFaults[p.writes]; f != "" {
			fault = f
		}
	}
	p.frozen = fault == fate
	p.met = p.met || fault != ""
	return fault
}

// await waits for something to happen, for as long as it takes the controller
// to make some requests, or to fall silent.
func (b *batch) await(over <-chan struct{}, requests int, happens func() bool) {
	b.mu.Lock()
	until, begin := b.requests+requests, time.Now()
	b.mu.Unlock()
	for !happens() {
		select {
		case <-over:
			return
		case <-time.After(5 * time.Millisecond):
		}
		b.mu.Lock()
		done := b.requests >= until || (time.Since(b.latest) > silence && time.Since(begin) > silence)
		b.mu.Unlock()
		if done {
			return
		}
	}
}

func never() bool { return false }

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// pause waits, or until the context ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (b *batch) baseImage() string { return fmt.Sprintf("registry.example.com/os/base:%d", b.base) }

func (b *batch) settings() map[string]string {
	builder := map[bool]string{false: api.BuilderCustomPod, true: api.BuilderOpenShift}[b.builds]
	return map[string]string{
		api.KeyImageBuilderType: builder, api.KeyFinalImagePullspec: b.registry.Host + "/" + modelRepository, api.KeyFinalImagePushSecretName: pushSecret,
		api.KeyMaxConcurrentBuilds: fmt.Sprint(b.monitor.limit), api.KeyMaxBuildRetries: fmt.Sprint(modelRetries), api.KeyBuildTimeout: "9000h", api.KeyImagesToKeep: fmt.Sprint(b.keep),
	}
}

// modelGrace is how long an image that nobody needs is kept, by the clock.
const modelGrace = 10 * time.Second

// modelRetries is how many further tries a failed build gets.
const modelRetries = 2

func loginSecret(password string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: pushSecret}, Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: fmt.Appendf(nil, `{"auths":{"registry.example.com":{"username":"model","password":%q}}}`, password)},
	}
}

// set writes a ConfigMap of a user's.
func (b *batch) set(name string, data map[string]string) {
	client := b.admin.Core.CoreV1().ConfigMaps(namespace)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	_, err := client.Update(b.ctx, cm, metav1.UpdateOptions{})
	if err != nil {
		_, err = client.Create(b.ctx, cm, metav1.CreateOptions{})
	}
	must(b.t, err)
}
