package integration

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// Settings of the model, from the environment: the seed of the first batch to
// play, and how many sequences. With a seed it is one batch if nothing else is said.
const (
	modelSeedVariable      = "MOB_MODEL_SEED"
	modelSequencesVariable = "MOB_MODEL_SEQUENCES"
)

// How many sequences, how many of them side by side, and for how long a batch
// may come no nearer to rest.
const (
	modelSequences = 480
	modelBatch     = 240
	modelPatience  = 2 * time.Minute
	// buildsShare: every so manieth seed builds by Builds.
	buildsShare = 4
)

// TestModel plays random sequences of what users and worlds do, many at once,
// against the real controller on the real API server, and checks at every
// version of every pool and pod, and when all is quiet, what must hold.
//
// A batch is replayed with its seed; time itself is not, so that a rare
// interleaving may need several replays.
func TestModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	sequences := number(t, modelSequencesVariable, modelSequences)
	if text := os.Getenv(modelSeedVariable); text != "" {
		given, err := strconv.ParseUint(text, 10, 64)
		must(t, err)
		seed, sequences = given, number(t, modelSequencesVariable, modelBatch)
	}
	m := newModel(t)
	begin, starts, writes, most := time.Now(), 0, 0, 0
	done := 0
	for done < sequences {
		b := m.batch(seed, randomSequences(seed, min(modelBatch, sequences-done)))
		failed := b.run()
		starts, writes, most = starts+b.monitor.starts, writes+b.writes, max(most, b.monitor.most)
		done += len(b.pools)
		if len(failed) > 0 {
			m.report(seed, failed)
			break
		}
		t.Logf("seed %d: %d sequences, %d builds, by Builds %t, in all %d in %v: %s", seed, len(b.pools), b.monitor.starts, b.builds, done, time.Since(begin).Round(time.Second), strings.Join(b.laps, ", "))
		seed++
	}
	elapsed := time.Since(begin)
	t.Logf("%d sequences, %d builds started, %d writes of the controller, at most %d builds at once, in %v: %.1f sequences/s",
		done, starts, writes, most, elapsed.Round(time.Second), float64(done)/elapsed.Seconds())
}

func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	must(t, err)
	return n
}

func randomSequences(seed uint64, n int) []sequence {
	r := rand.New(rand.NewPCG(seed, 1))
	out := make([]sequence, n)
	for i := range out {
		out[i] = newSequence(r)
	}
	return out
}

// model is what all batches share.
type model struct {
	t        *testing.T
	admin    kube.Clients
	config   *rest.Config
	registry *kubelet.Registry
	owner    metav1.OwnerReference
	pools    int // that were made so far
}

func newModel(t *testing.T) *model {
	t.Helper()
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	t.Cleanup(func() { klog.SetOutput(os.Stderr); klog.LogToStderr(true) })
	newWorld(t)
	m := &model{t: t, registry: kubelet.NewRegistry()}
	t.Cleanup(m.registry.Close)
	quick := func(c *rest.Config) *rest.Config {
		c = rest.CopyConfig(c)
		c.QPS, c.Burst = 5000, 5000
		return c
	}
	var err error
	m.admin, err = kube.NewClients(quick(plane.Config))
	must(t, err)
	config, err := plane.ServiceAccount(t.Context(), namespace, "machine-os-builder")
	must(t, err)
	m.config = quick(config)
	m.setUp()
	return m
}

func (m *model) setUp() {
	m.t.Helper()
	ctx := m.t.Context()
	owner, err := m.admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Create(ctx, &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: foreignKey}, Spec: mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: []byte(`{}`)}},
	}, metav1.CreateOptions{})
	must(m.t, err)
	m.owner = metav1.OwnerReference{APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfig", Name: owner.Name, UID: owner.UID}
	secrets := m.admin.Core.CoreV1().Secrets(namespace)
	_, err = secrets.Create(ctx, loginSecret("first"), metav1.CreateOptions{})
	must(m.t, err)
	m.t.Cleanup(func() {
		ctx := context.WithoutCancel(ctx)
		must(m.t, secrets.Delete(ctx, pushSecret, metav1.DeleteOptions{}))
		must(m.t, m.admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Delete(ctx, foreignKey, metav1.DeleteOptions{}))
	})
}

// batch prepares the run of sequences, one a pool.
func (m *model) batch(seed uint64, sequences []sequence) *batch {
	m.t.Helper()
	r := rand.New(rand.NewPCG(seed, 2))
	ctx, cancel := context.WithCancel(m.t.Context())
	m.t.Cleanup(cancel)
	b := &batch{
		t: m.t, ctx: ctx, random: r, admin: m.admin, config: m.config, registry: m.registry, owner: m.owner,
		clock: fastClock{start: time.Now(), factor: hurry}, monitor: newMonitor(m.registry, []int{3, 9, 16, 32, 64, 128}[r.IntN(6)]), keep: 1 + r.IntN(3),
	}
	if b.builds = seed%buildsShare == buildsShare-1; b.builds {
		newBuildWorld(m.t)
	}
	for _, s := range sequences {
		m.pools++
		b.pools = append(b.pools, &subject{batch: b, sequence: s, name: fmt.Sprintf("p%06d", m.pools), configs: map[string]bool{}})
	}
	b.end = cancel
	return b
}

// run plays the sequences, lets all come to rest, checks, clears away, and
// returns the pools for which something did not hold.
func (b *batch) run() []*subject {
	b.t.Helper()
	defer b.end()
	b.set(api.ConfigMapBuildConfig, b.settings())
	b.set(api.ConfigMapOSImageURL, map[string]string{api.KeyBaseOSContainerImage: b.baseImage()})
	b.set(api.ConfigMapCustomDockerfile, nil)
	b.set(api.ConfigMapServiceCA, map[string]string{api.ServiceCAKey: string(b.registry.CA)})
	var err error
	b.mirror, err = kube.NewInformers(b.admin, namespace)
	must(b.t, err)
	must(b.t, b.monitor.watch(b.mirror))
	must(b.t, b.mirror.Start(b.ctx))
	var background sync.WaitGroup
	nodes := kubelet.Options{Client: b.admin.Core, Namespace: namespace, Registry: b.registry, Script: b.script, Clock: b.clock}
	if b.builds {
		nodes.Selector = buildv1.BuildLabel
		background.Go(b.executor(b.ctx))
	}
	b.nodes = kubelet.New(nodes)
	background.Go(func() { b.nodes.Run(b.ctx) })
	b.process = b.launch()

	over := make(chan struct{})
	var weather sync.WaitGroup
	weather.Go(func() { b.weather(over) })
	var players sync.WaitGroup
	for _, p := range b.pools {
		players.Go(func() {
			p.play()
			b.mu.Lock()
			defer b.mu.Unlock()
			p.played = true
		})
	}
	players.Go(b.thaw)
	players.Wait()
	b.lap("played")
	close(over)
	weather.Wait()
	b.rest("after the sequence")
	b.lap("came to rest")
	b.quiet()
	b.lap("quiet")
	b.clear()
	b.lap("cleared")
	b.process.kill()
	b.end()
	background.Wait()
	var failed []*subject
	for _, p := range b.pools {
		if len(b.monitor.broken[p.name]) > 0 {
			failed = append(failed, p)
		}
	}
	return failed
}

// lap notes how long a part of the batch has taken.
func (b *batch) lap(what string) {
	b.laps = append(b.laps, fmt.Sprintf("%s %.1fs", what, time.Since(b.monitor.begin).Seconds()))
}

// thaw kills and restarts a controller that is dead for some pools.
func (b *batch) thaw() {
	wait := func(p *subject) bool {
		b.mu.Lock()
		open, played := len(p.writeFaults) > 0 && !p.frozen, p.played
		b.mu.Unlock()
		return open && (!played || p.verdict() != nil)
	}
	deadline := time.Now().Add(modelPatience)
	for b.still && b.ctx.Err() == nil && slices.ContainsFunc(b.pools, wait) && time.Now().Before(deadline) {
		pause(b.ctx, 20*time.Millisecond)
	}
	if !slices.ContainsFunc(b.pools, b.isFrozen) {
		return
	}
	b.restart(0)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.pools {
		p.frozen, p.writeFaults = false, nil
	}
}

func (b *batch) isFrozen(p *subject) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return p.frozen
}

// script is the Playwright of the batch.
func (b *batch) script(pod *corev1.Pod) kubelet.Script {
	s := kubelet.Script{Outcome: kubelet.Succeed}
	for _, p := range b.pools {
		if p.name == poolName.FindString(pod.Name) {
			s = p.script()
		}
	}
	b.monitor.scripted(pod, s)
	return s
}

// rest waits until every pool is as it should be, for as long as more and more
// of them are. Pods that hang are evicted by then.
func (b *batch) rest(when string) {
	deadline := time.Now().Add(modelPatience)
	open := b.pools
	for round := 0; len(open) > 0 && b.ctx.Err() == nil; round++ {
		var left []*subject
		for _, p := range open {
			if p.verdict() != nil {
				left = append(left, p)
			}
		}
		if len(left) < len(open) {
			deadline = time.Now().Add(modelPatience)
		}
		if time.Now().After(deadline) {
			for _, p := range left {
				b.monitor.violate(p.name, "%s, when no other had come to rest for %v: %v", when, modelPatience, p.verdict())
			}
			return
		}
		if open = left; len(open) > 0 {
			pause(b.ctx, 25*time.Millisecond)
		}
		if round%40 == 39 && !b.still {
			for _, p := range open {
				for _, pod := range b.monitor.runsOf(p.name) {
					b.nodes.End(pod, kubelet.Evict)
				}
			}
		}
	}
}

// quiet: once all is as it should be, nothing is written any more.
func (b *batch) quiet() {
	const silence = 200 * time.Millisecond
	for range 25 {
		b.mu.Lock()
		before := b.writes
		b.mu.Unlock()
		pause(b.ctx, silence)
		b.mu.Lock()
		after := b.writes
		b.mu.Unlock()
		if before == after {
			return
		}
	}
	for _, p := range b.pools {
		b.monitor.violate(p.name, "the controller of the batch does not stop writing")
	}
}

// clear opts pools out or deletes them, and nothing may be left.
func (b *batch) clear() {
	var wg sync.WaitGroup
	for i, p := range b.pools {
		wg.Go(func() {
			s := step{op: opUnlabel}
			if i%2 == 0 {
				s.op = opDelete
			}
			b.monitor.tell(p.name, "STEP at the end: %v", s)
			if err := p.do(s); err != nil {
				b.monitor.violate(p.name, "%v: %v", s, err)
			}
		})
	}
	wg.Wait()
	b.rest("after opting out or deletion")
	if b.builds {
		b.podsGone()
	}
	for _, p := range b.pools {
		wg.Go(func() { must(b.t, p.remove()) })
	}
	wg.Wait()
	must(b.t, b.admin.MachineConfig.MachineconfigurationV1().MachineConfigs().DeleteCollection(b.ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: foreignKey}))
}
