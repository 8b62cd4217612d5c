package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/fake"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

const (
	namespace  = api.DefaultNamespace
	repository = "registry.example.com/os/images"
)

// settle is how long anything may take before a scenario gives up; tick is how
// far the clock is set forward while it waits.
const (
	settle = 2 * time.Minute
	tick   = 200 * time.Millisecond
)

// epoch is when each scenario begins.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// moment is what scrapes read from some time on.
type moment struct {
	since time.Duration
	text  []byte
}

// world is what happens to the controller.
type world struct {
	ctx    context.Context
	plane  *controlplane.ControlPlane
	shared *prometheus.Registry // of the process, for all scenarios
	admin  kube.Clients
	clock  *clocktesting.FakeClock
	runs   *datedRuns

	mu     sync.Mutex
	images map[string]registry.Info // by pullspec
	silent bool                     // the registry does not answer

	process *process
	moments []moment
}

// play plays a scenario from an empty cluster on, and cleans up.
func play(ctx context.Context, plane *controlplane.ControlPlane, shared *prometheus.Registry, how func(*world) error) ([]moment, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	admin, err := kube.NewClients(plane.Config)
	if err != nil {
		return nil, err
	}
	clock := clocktesting.NewFakeClock(epoch)
	w := &world{
		ctx: ctx, plane: plane, shared: shared, admin: admin, clock: clock, images: map[string]registry.Info{},
		runs: &datedRuns{Backend: &fake.Backend{}, clock: clock, made: map[types.UID]time.Time{}},
	}
	err = errors.Join(w.clean(),
		w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: repository}),
		w.setting(api.ConfigMapOSImageURL, map[string]string{api.KeyBaseOSContainerImage: "registry.example.com/os/base:1"}))
	if err == nil {
		err = how(w)
	}
	if w.process != nil {
		w.process.kill()
	}
	w.record(nil)
	return w.moments, err
}

// record notes what scrapes read from now on.
func (w *world) record(text []byte) {
	w.moments = append(w.moments, moment{w.clock.Since(epoch).Round(time.Second), text})
}

// hold lets time pass in which scrapes read what they read now.
func (w *world) hold(d time.Duration) error {
	text, err := w.scrape()
	if err == nil {
		w.record(text)
		w.clock.Step(d)
	}
	return err
}

// outage lets time pass in which nobody answers.
func (w *world) outage(d time.Duration) {
	w.record(nil)
	w.clock.Step(d)
}

func (w *world) scrape() ([]byte, error) {
	response, err := http.Get(w.process.server.URL)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, errors.New(response.Status)
	}
	return io.ReadAll(response.Body)
}

// until waits for samples to be read; each is the start of a line.
func (w *world) until(samples ...string) error {
	return w.read(fmt.Sprintf("samples %q", samples), func(text []byte) bool {
		for _, sample := range samples {
			if !bytes.Contains(text, []byte("\n"+sample)) {
				return false
			}
		}
		return true
	})
}

// untilGone waits until a text is not read any more.
func (w *world) untilGone(part string) error {
	return w.read("no "+part, func(text []byte) bool { return !bytes.Contains(text, []byte(part)) })
}

// read scrapes until something holds. Meanwhile the clock goes on.
func (w *world) read(what string, holds func(text []byte) bool) error {
	var text []byte
	err := wait.PollUntilContextTimeout(w.ctx, 10*time.Millisecond, settle, true, func(context.Context) (bool, error) {
		var err error
		if text, err = w.scrape(); err != nil || holds(text) {
			return err == nil, err
		}
		w.clock.Step(tick)
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for %s: %w; read:\n%s", what, err, ours(text))
	}
	return nil
}

func ours(text []byte) string {
	var lines []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ocl_build_state") || strings.HasPrefix(line, "ocl_active") || strings.HasPrefix(line, "ocl_build_total") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// inspect plays the registry.
func (w *world) inspect(_ context.Context, q registry.Question) (registry.Info, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.silent {
		return registry.Info{}, &registry.Error{Class: registry.ErrUnavailable, Reference: q.Pullspec}
	}
	if info, ok := w.images[q.Pullspec]; ok {
		return info, nil
	}
	return registry.Info{}, &registry.Error{Class: registry.ErrNotFound, Reference: q.Pullspec}
}

func (w *world) silence(silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.silent = silent
}

// config is the rendered config of a pool.
func config(pool string) string { return "rendered-" + pool + "-a" }

// build returns a pool's build.
func (w *world) build(pool string) (backend.Observation, error) {
	list, err := w.runs.List(w.ctx, pool, true)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("pool %s has %d builds", pool, len(list))
	}
	if err != nil {
		return backend.Observation{}, err
	}
	return list[0], nil
}

// goOn lets a pool's run come to a phase.
func (w *world) goOn(pool string, phase backend.Phase, change func(*backend.Observation)) error {
	b, err := w.build(pool)
	if err != nil {
		return err
	}
	b.Phase = phase
	if change != nil {
		change(&b)
	}
	w.runs.Put(b)
	return nil
}

// succeed ends a pool's run with an image, as after some minutes.
func (w *world) succeed(pool string) error {
	return w.goOn(pool, backend.PhaseSucceeded, func(b *backend.Observation) {
		digest := "sha256:" + strings.Repeat("0", 64-len(b.ID)) + strings.Map(hexadecimal, b.ID)
		w.mu.Lock()
		w.images[repository+"@"+digest] = registry.Info{Digest: digest, Labels: map[string]string{api.ImageLabelInputsHash: b.ID}}
		w.mu.Unlock()
		b.Finished = b.Created.Add(4 * time.Minute)
		b.Result = buildspec.Result{Succeeded: true, Digest: digest, Timings: []buildspec.Timing{{Name: "push", Seconds: 22}, {Name: "total", Seconds: 240}}}
	})
}

func hexadecimal(r rune) rune {
	if strings.ContainsRune("0123456789abcdef", r) {
		return r
	}
	return '0'
}

// fail ends a pool's run badly.
func (w *world) fail(pool, reason string) error {
	return w.goOn(pool, backend.PhaseFailed, func(b *backend.Observation) {
		b.Reason, b.Message, b.Finished = reason, "it went wrong", w.clock.Now()
	})
}

func (w *world) clean() error {
	pools := w.admin.MachineConfig.MachineconfigurationV1().MachineConfigPools()
	configs := w.admin.MachineConfig.MachineconfigurationV1().MachineConfigs()
	maps := w.admin.Core.CoreV1().ConfigMaps(namespace)
	return errors.Join(
		pools.DeleteCollection(w.ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
		configs.DeleteCollection(w.ctx, metav1.DeleteOptions{}, metav1.ListOptions{}),
		maps.DeleteCollection(w.ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: api.LabelBuildPod}),
	)
}

func (w *world) setting(name string, data map[string]string) error {
	maps := w.admin.Core.CoreV1().ConfigMaps(namespace)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	_, err := maps.Update(w.ctx, cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(w.ctx, cm, metav1.CreateOptions{})
	}
	return err
}

// optIn makes pools that are opted in.
func (w *world) optIn(names ...string) error {
	for _, name := range names {
		mc := &mcfgv1.MachineConfig{
			ObjectMeta: metav1.ObjectMeta{Name: config(name)},
			Spec:       mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: []byte(`{"ignition":{"version":"3.4.0"}}`)}},
		}
		p := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{api.LabelLayeringEnabled: ""}}}
		p.Spec.Configuration.Name = mc.Name
		_, err := w.admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Create(w.ctx, mc, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		if _, err = w.admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Create(w.ctx, p, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) optOut(name string) error {
	_, err := w.admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Patch(w.ctx, name, types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"`+api.LabelLayeringEnabled+`":null}}}`), metav1.PatchOptions{})
	return err
}
