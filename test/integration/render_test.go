package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	loop "github.com/machine-os-builder/machine-os-builder/pkg/controller/render"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/render"
)

const roleLabel = "machineconfiguration.openshift.io/role"

// rendering is a world whose controller renders, with a pool "worker" that
// selects the MachineConfigs and nodes of its role.
func rendering(t *testing.T) *world {
	w := newWorld(t)
	w.renders = true
	w.addRendered("worker")
	return w
}

// addRendered adds a pool that nobody gave a rendered config.
func (w *world) addRendered(name string) {
	w.t.Helper()
	pool := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	pool.Spec.MachineConfigSelector = &metav1.LabelSelector{MatchLabels: map[string]string{roleLabel: name}}
	pool.Spec.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"node-role.kubernetes.io/" + name: ""}}
	_, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Create(w.ctx, pool, metav1.CreateOptions{})
	must(w.t, err)
}

// apply makes or changes a MachineConfig with one file.
func (w *world) apply(name, role, path, content string) {
	w.t.Helper()
	w.applyRaw(name, role, fmt.Sprintf(`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":%q,"contents":{"source":"data:,%s"}}]}}`, path, content))
}

func (w *world) applyRaw(name, role, config string) {
	w.t.Helper()
	configs := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs()
	mc := &mcfgv1.MachineConfig{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{roleLabel: role}}}
	mc.Spec.Config = runtime.RawExtension{Raw: []byte(config)}
	have, err := configs.Get(w.ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = configs.Create(w.ctx, mc, metav1.CreateOptions{})
		w.t.Cleanup(func() {
			_ = w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Delete(context.Background(), name, metav1.DeleteOptions{})
		})
	} else if err == nil {
		mc.ResourceVersion = have.ResourceVersion
		_, err = configs.Update(w.ctx, mc, metav1.UpdateOptions{})
	}
	must(w.t, err)
}

// targeted waits until a pool targets a rendered config that has all texts in
// its content and is not the one before, and returns its name.
func (w *world) targeted(pool, before string, texts ...string) string {
	w.t.Helper()
	var name string
	w.eventually("pool "+pool+" targets another rendered config", func() error {
		name = w.pool(pool).Spec.Configuration.Name
		if name == before || name == "" {
			return fmt.Errorf("it targets %q", name)
		}
		mc, err := w.config(name)
		if err != nil {
			return err
		}
		for _, text := range texts {
			if !strings.Contains(string(mc.Spec.Config.Raw), text) {
				return fmt.Errorf("%s has no %q: %s", name, text, mc.Spec.Config.Raw)
			}
		}
		return nil
	})
	return name
}

func (w *world) config(name string) (*mcfgv1.MachineConfig, error) {
	return w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Get(w.ctx, name, metav1.GetOptions{})
}

// shows waits until a condition of a pool has a status, and all texts in its
// reason and message.
func (w *world) shows(pool string, kind mcfgv1.MachineConfigPoolConditionType, status corev1.ConditionStatus, texts ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("pool %s is %s=%s", pool, kind, status), func() error {
		for _, c := range w.pool(pool).Status.Conditions {
			if c.Type != kind {
				continue
			}
			for _, text := range texts {
				if !strings.Contains(c.Reason+" "+c.Message, text) {
					return fmt.Errorf("%s: %s is without %q", c.Reason, c.Message, text)
				}
			}
			if c.Status == status {
				return nil
			}
			return fmt.Errorf("it is %s: %s", c.Status, c.Message)
		}
		return errors.New("there is none")
	})
}

// renderedOf are the rendered configs of a pool.
func (w *world) renderedOf(pool string) []string {
	w.t.Helper()
	list, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs().List(w.ctx, metav1.ListOptions{})
	must(w.t, err)
	var all []string
	for _, mc := range list.Items {
		if owner, rendered := render.PoolOf(&mc); rendered && owner == pool {
			all = append(all, mc.Name)
		}
	}
	return all
}

// TestRenderedConfigLeadsToAnImage: who applies a MachineConfig gets an image of
// it, without another command.
func TestRenderedConfigLeadsToAnImage(t *testing.T) {
	w := rendering(t)
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.patchPool("worker", optIn)
	w.Start()
	first := w.targeted("worker", "", "/etc/a")
	pool, mc := w.pool("worker"), must1(w.config(first))(t)
	if !metav1.IsControlledBy(mc, pool) {
		t.Errorf("%s is owned by %v", first, mc.OwnerReferences)
	}
	if sources := pool.Spec.Configuration.Source; len(sources) != 1 || sources[0].Name != "00-worker" || sources[0].Kind != "MachineConfig" {
		t.Errorf("sources are %+v", sources)
	}
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
	w.complete("worker", first)

	w.apply("50-more", "worker", "/etc/b", "two")
	second := w.targeted("worker", first, "/etc/a", "/etc/b")
	w.complete("worker", second)

	// The content is the same, so there is nothing to render or build, but more to tell.
	w.applyRaw("99-nothing", "worker", `{"ignition":{"version":"3.4.0"}}`)
	w.eventually("the sources name all three", func() error {
		if c := w.pool("worker").Spec.Configuration; len(c.Source) != 3 || c.Name != second {
			return fmt.Errorf("%s of %+v", c.Name, c.Source)
		}
		return nil
	})
}

func TestBadMachineConfigKeepsTheLastGoodOne(t *testing.T) {
	w := rendering(t)
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.Start()
	good := w.targeted("worker", "", "/etc/a")
	w.applyRaw("60-bad", "worker", `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"relative"}]}}`)
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionTrue, "60-bad", "$.storage.files.0.path", api.ReasonInvalidMachineConfig)
	w.shows("worker", mcfgv1.MachineConfigPoolDegraded, corev1.ConditionTrue, "60-bad")
	if have := w.pool("worker").Spec.Configuration.Name; have != good {
		t.Errorf("the pool targets %s, the last good one is %s", have, good)
	}
	// What no image could have is refused as early, and by the name of who asks for it.
	w.apply("60-bad", "worker", "/etc/good", "now")
	better := w.targeted("worker", good, "/etc/good")
	for _, row := range []struct{ spec, says string }{
		{`{"extensions":["usbgard"]}`, `spec.extensions: there is no extension "usbgard"`},
		{`{"extensions":[],"osImageURL":"registry.example.com/OS"}`, `spec.osImageURL: "registry.example.com/OS" is no pullspec`},
	} {
		_, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Patch(w.ctx, "60-bad", types.MergePatchType, []byte(`{"spec":`+row.spec+`}`), metav1.PatchOptions{})
		must(t, err)
		w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionTrue, `MachineConfig "60-bad", `+row.says, api.ReasonInvalidMachineConfig)
		if have := w.pool("worker").Spec.Configuration.Name; have != better {
			t.Errorf("the pool targets %s, the last good one is %s", have, better)
		}
	}
	w.apply("60-bad", "worker", "/etc/better", "now")
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
	w.shows("worker", mcfgv1.MachineConfigPoolDegraded, corev1.ConditionFalse)
	w.targeted("worker", better, "/etc/better")
}

// TestRenderedConfigIsMadeAgain: whoever deletes or takes the place of a
// rendered config, the pool comes to have its own.
func TestRenderedConfigIsMadeAgain(t *testing.T) {
	w := rendering(t)
	configs := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs()
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.Start()
	name := w.targeted("worker", "")
	made := must1(w.config(name))(t)
	must(t, configs.Delete(w.ctx, name, metav1.DeleteOptions{}))
	w.eventually("the rendered config is made again", func() error {
		mc, err := w.config(name)
		if err == nil && mc.UID == made.UID {
			err = errors.New("it is still the first one")
		}
		return err
	})

	_, err := configs.Patch(w.ctx, name, types.MergePatchType, []byte(`{"spec":{"kernelArguments":["quiet"]}}`), metav1.PatchOptions{})
	must(t, err)
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionTrue, name, api.ReasonRenderedConfigTaken)
	must(t, configs.Delete(w.ctx, name, metav1.DeleteOptions{}))
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
	if mc := must1(w.config(name))(t); len(mc.Spec.KernelArguments) != 0 {
		t.Errorf("it has the kernel arguments %q", mc.Spec.KernelArguments)
	}
}

// TestPoolOfSomebodyElses: a pool without a selector has whatever config it was
// given, and says nothing of rendering.
func TestPoolOfSomebodyElses(t *testing.T) {
	w := rendering(t)
	w.addPool("other", "rendered-other-1")
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.Start()
	w.targeted("worker", "")
	w.shows("other", mcfgv1.MachineConfigPoolDegraded, corev1.ConditionFalse)
	pool := w.pool("other")
	for _, c := range pool.Status.Conditions {
		if c.Type == mcfgv1.MachineConfigPoolRenderDegraded {
			t.Errorf("it says %+v", c)
		}
	}
	if pool.Spec.Configuration.Name != "rendered-other-1" || len(w.renderedOf("other")) != 0 {
		t.Errorf("it targets %q; there are %q", pool.Spec.Configuration.Name, w.renderedOf("other"))
	}
}

// TestPoolBecomesSomebodyElses: what was told of a pool's rendering goes when
// somebody else gives it a config, which is then built.
func TestPoolBecomesSomebodyElses(t *testing.T) {
	w := newWorld(t)
	w.renders = true
	_, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Create(w.ctx,
		&mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
	must(t, err)
	w.Start()
	w.shows("mine", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionTrue, api.ReasonInvalidSelector)
	w.addConfig("rendered-mine-1", "x")
	w.patchPool("mine", optIn)
	w.patchPool("mine", `{"spec":{"configuration":{"name":"rendered-mine-1"}}}`)
	w.complete("mine", "rendered-mine-1")
	for _, c := range w.pool("mine").Status.Conditions {
		if c.Type == mcfgv1.MachineConfigPoolRenderDegraded {
			t.Errorf("it says %+v", c)
		}
	}
}

// TestTooLargeToRender: what the API server does not take is told, and the last
// good config stays.
func TestTooLargeToRender(t *testing.T) {
	w := rendering(t)
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.Start()
	good := w.targeted("worker", "", "/etc/a")
	large := strings.Repeat("x", 900<<10)
	w.apply("50-large", "worker", "/etc/b", large)
	w.targeted("worker", good, "/etc/b")
	second := w.pool("worker").Spec.Configuration.Name
	w.apply("60-large", "worker", "/etc/c", large)
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionTrue, api.ReasonCannotCreateRenderedConfig, "too large")
	if have := w.pool("worker").Spec.Configuration.Name; have != second {
		t.Errorf("the pool targets %s, the last good one is %s", have, second)
	}
	must(t, w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Delete(w.ctx, "60-large", metav1.DeleteOptions{}))
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
}

// TestManyMachineConfigsAtOnce: who applies ten gets no ten rendered configs.
func TestManyMachineConfigsAtOnce(t *testing.T) {
	w := rendering(t)
	w.settleTime = loop.SettleTime
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.Start()
	first := w.targeted("worker", "")
	for i := range 10 {
		w.apply(fmt.Sprintf("50-%d", i), "worker", fmt.Sprintf("/etc/%d", i), "x")
	}
	w.eventually("all are rendered", func() error {
		w.targeted("worker", first)
		mc, err := w.config(w.pool("worker").Spec.Configuration.Name)
		if err == nil && !strings.Contains(string(mc.Spec.Config.Raw), "/etc/9") {
			err = errors.New("not yet")
		}
		return err
	})
	// A conflict with the status loop makes it look once more in between.
	if all := w.renderedOf("worker"); len(all) > 4 {
		t.Errorf("there are %q", all)
	}
}

// TestOldRenderedConfigsAreCollected: all go but the newest and those that a
// node has.
func TestOldRenderedConfigsAreCollected(t *testing.T) {
	w := rendering(t)
	w.apply("00-worker", "worker", "/etc/a", "0")
	w.Start()
	names := []string{w.targeted("worker", "")}
	w.addNode("node-1", names[0])
	for i := 1; i < 6; i++ {
		made := must1(w.config(names[i-1]))(t).CreationTimestamp
		w.eventually("a second has passed: creation times have whole ones", func() error {
			if age := time.Since(made.Time); age < 2*time.Second {
				return fmt.Errorf("it is %s", age)
			}
			return nil
		})
		w.apply("00-worker", "worker", "/etc/a", fmt.Sprint(i))
		names = append(names, w.targeted("worker", names[i-1]))
	}
	left := func(want ...string) func() error {
		return func() error {
			have := w.renderedOf("worker")
			slices.Sort(have)
			slices.Sort(want)
			if !slices.Equal(have, want) {
				return fmt.Errorf("there are %q, want %q of %q", have, want, names)
			}
			return nil
		}
	}
	w.eventually("only old ones that a node has stay", left(names[0], names[3], names[4], names[5]))
	w.annotateNode("node-1", names[5])
	w.eventually("and go when it has another", left(names[3], names[4], names[5]))
}

// TestMachinesAreCounted: what the agents of the nodes say is told of the pool.
func TestMachinesAreCounted(t *testing.T) {
	w := rendering(t)
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.addNode("node-1", "")
	w.addNode("node-2", "")
	w.Start()
	name := w.targeted("worker", "")
	w.shows("worker", mcfgv1.MachineConfigPoolUpdating, corev1.ConditionTrue)
	counts := func(machines, updated, degraded int32) {
		t.Helper()
		w.eventually("the machines are counted", func() error {
			if s := w.pool("worker").Status; s.MachineCount != machines || s.UpdatedMachineCount != updated || s.DegradedMachineCount != degraded {
				return fmt.Errorf("%d machines, %d updated, %d degraded", s.MachineCount, s.UpdatedMachineCount, s.DegradedMachineCount)
			}
			return nil
		})
	}
	counts(2, 0, 0)
	w.annotateNode("node-1", name)
	counts(2, 1, 0)
	w.annotateNode("node-2", name)
	counts(2, 2, 0)
	w.shows("worker", mcfgv1.MachineConfigPoolUpdated, corev1.ConditionTrue, name)
	if have := w.pool("worker").Status.Configuration; have.Name != name || len(have.Source) != 1 {
		t.Errorf("status.configuration is %+v", have)
	}
	must(t, w.Admin.Core.CoreV1().Nodes().Delete(w.ctx, "node-2", metav1.DeleteOptions{}))
	counts(1, 1, 0)
}

// addNode adds a node of the workers that has a config; "" for none.
func (w *world) addNode(name, config string) {
	w.t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"node-role.kubernetes.io/worker": ""}}}
	_, err := w.Admin.Core.CoreV1().Nodes().Create(w.ctx, node, metav1.CreateOptions{})
	must(w.t, err)
	w.t.Cleanup(func() { _ = w.Admin.Core.CoreV1().Nodes().Delete(context.Background(), name, metav1.DeleteOptions{}) })
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if config != "" {
		w.annotateNode(name, config)
	}
}

// annotateNode says what a node's agent would say of a config that it has.
func (w *world) annotateNode(name, config string) {
	w.t.Helper()
	patch := must1(json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{
		api.AnnotationCurrentConfig: config, api.AnnotationDesiredConfig: config, api.AnnotationState: api.StateDone,
	}}}))(w.t)
	_, err := w.Admin.Core.CoreV1().Nodes().Patch(w.ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	must(w.t, err)
}

// TestConfigurationOfAPoolThatIsGone: server-side apply makes what does not
// exist; it must not make a pool that was deleted.
func TestConfigurationOfAPoolThatIsGone(t *testing.T) {
	w := newWorld(t)
	w.addRendered("worker")
	old := w.pool("worker")
	pools := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools()
	set := func() error {
		return kube.SetPoolConfiguration(w.ctx, w.Admin.MachineConfig, old, "rendered-worker-1", nil, "test")
	}
	must(t, set())
	must(t, pools.Delete(w.ctx, "worker", metav1.DeleteOptions{}))
	if err := set(); !apierrors.IsConflict(err) {
		t.Errorf("with no pool: %v, want a conflict", err)
	}
	w.addRendered("worker")
	if err := set(); err == nil {
		t.Error("with another pool of its name there is no error")
	}
	if have := w.pool("worker").Spec.Configuration.Name; have != "" {
		t.Errorf("the other pool targets %q", have)
	}
}

// TestRenderKilledAfterEveryWrite: whichever write was its last, the next
// process leads to the same end.
func TestRenderKilledAfterEveryWrite(t *testing.T) {
	for last := 1; ; last++ {
		var writes int
		t.Run(fmt.Sprint(last), func(t *testing.T) {
			w := rendering(t)
			w.apply("00-worker", "worker", "/etc/a", "one")
			w.lastWrite = last
			w.Start()
			w.eventually("its last write is done, or all are", func() error {
				updated := slices.ContainsFunc(w.pool("worker").Status.Conditions, func(c mcfgv1.MachineConfigPoolCondition) bool {
					return c.Type == mcfgv1.MachineConfigPoolUpdated && c.Status == corev1.ConditionTrue
				})
				if writes = w.Requests.Count(); writes < last && !updated {
					return fmt.Errorf("there are %d writes", writes)
				}
				return nil
			})
			w.Stop()
			w.lastWrite = 0
			w.Start()
			name := w.targeted("worker", "", "/etc/a")
			w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
			w.shows("worker", mcfgv1.MachineConfigPoolUpdated, corev1.ConditionTrue, name)
			if all := w.renderedOf("worker"); len(all) != 1 {
				t.Errorf("there are %q", all)
			}
		})
		if writes < last || t.Failed() {
			break
		}
	}
}

// mishap lets one write that is about a pool fail, once.
type mishap struct {
	next  http.RoundTripper
	mu    sync.Mutex
	rows  map[string]failing // by pool
	count map[string]int
}

// failing is which write of a pool, from 1, fails how.
type failing struct {
	write int
	fault fault
}

func (m *mishap) RoundTrip(r *http.Request) (*http.Response, error) {
	send := func() (*http.Response, error) { return m.next.RoundTrip(r) }
	if r.Method == http.MethodGet || strings.Contains(r.URL.Path, "/events") {
		return send()
	}
	about := r.URL.Path
	if r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		about += string(text)
	}
	m.mu.Lock()
	for pool, f := range m.rows {
		if !strings.Contains(about, pool) {
			continue
		}
		if m.count[pool]++; m.count[pool] == f.write {
			m.mu.Unlock()
			return f.fault(r, send)
		}
	}
	m.mu.Unlock()
	return send()
}

// TestRenderEveryWriteFailsOnce: whichever write of a pool fails, in whichever
// way, the pool comes to the same end.
func TestRenderEveryWriteFailsOnce(t *testing.T) {
	const writes = 5 // rendered config, target, RenderDegraded, status, and one to spare
	w := newWorld(t)
	w.renders = true
	m := &mishap{rows: map[string]failing{}, count: map[string]int{}}
	w.wrap = func(next http.RoundTripper) http.RoundTripper { m.next = next; return m }
	for i := range writes {
		for name, f := range faults {
			pool := fmt.Sprintf("write-%d-%s", i+1, strings.ReplaceAll(name, " ", "-"))
			m.rows[pool] = failing{i + 1, f}
			w.addRendered(pool)
			w.apply("00-"+pool, pool, "/etc/a", "one")
		}
	}
	w.Start()
	for pool := range m.rows {
		name := w.targeted(pool, "", "/etc/a")
		w.shows(pool, mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
		w.shows(pool, mcfgv1.MachineConfigPoolUpdated, corev1.ConditionTrue, name)
		w.shows(pool, mcfgv1.MachineConfigPoolDegraded, corev1.ConditionFalse)
		if all := w.renderedOf(pool); len(all) != 1 {
			t.Errorf("pool %s has %q", pool, all)
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for pool, f := range m.rows {
		if f.write < writes && m.count[pool] < f.write {
			t.Errorf("pool %s had %d writes only", pool, m.count[pool])
		}
	}
}

// must1 is must for a call that returns something.
func must1[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}
