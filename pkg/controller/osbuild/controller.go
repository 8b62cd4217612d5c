package osbuild

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// Name of the loop in logs and metrics.
const Name = "osbuild"

// workers sync pools side by side; starts are serialized apart.
const workers = 4

// tellAfter is how long a change that only has to be told may wait for one
// that overtakes it.
const tellAfter = time.Second

// Options are what the loop is made of.
type Options struct {
	Clients   kube.Clients
	Informers *kube.Informers
	Backend   backend.Backend
	Namespace string
	// BuilderImage is the pullspec of the product's own builder image.
	BuilderImage string
	Recorder     record.EventRecorder
	Metrics      *metrics.Builds
	Clock        clock.WithTicker
	// Inspect asks a registry about an image; nil for the real way.
	Inspect func(ctx context.Context, q registry.Question) (registry.Info, error)
}

// Controller is the loop.
type Controller struct {
	Options
	runner  *controller.Runner
	checker *registry.Checker
	configs *configCache
	queue   *queue
	own     ownWrites
	untold  untold
	waiting accessWait
	// recorded is the hash of the records that this loop wrote, by name;
	// their events need no sync.
	recorded sync.Map
}

// New wires the loop to its informers, which must not run yet.
func New(o Options) (*Controller, error) {
	c := &Controller{
		Options: o,
		configs: &configCache{client: o.Clients.MachineConfig, lister: o.Informers.ConfigLister},
		queue:   newQueue(),
	}
	c.runner = controller.NewRunner(Name, o.Clock, c.sync)
	c.checker = registry.NewChecker(registry.CheckerOptions{Clock: o.Clock, Notify: c.runner.Enqueue, Inspect: o.Inspect})
	return c, c.watch()
}

// Run works until the context ends, then waits for what is under way. Running
// builds are left alone.
func (c *Controller) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { c.checker.Run(ctx) })
	wg.Go(func() { c.runner.Run(ctx, workers) })
	wg.Wait()
}

// watch maps every event to the keys of the pools that it concerns.
func (c *Controller) watch() error {
	err := errors.Join(
		kube.Listen(c.Informers.Pools, c.poolEvent),
		kube.Listen(c.Informers.Configs, c.configEvent),
		kube.Listen(c.Informers.BuildMaps, c.recordEvent),
		c.Backend.Watch(c.buildEvent),
	)
	if c.Informers.Builds != nil {
		c.Informers.Builds.OnServed(func() {
			c.enqueueWhere(func(*mcfgv1.MachineConfigPool) bool { return true })
		})
	}
	for _, informer := range c.Informers.Settings {
		err = errors.Join(err, kube.Listen(informer, c.settingEvent))
	}
	return err
}

func (c *Controller) poolEvent(before, after *mcfgv1.MachineConfigPool) {
	if after == nil {
		c.queue.drop(before.Name)
		c.runner.Enqueue(before.Name)
		c.wakeQueue()
		return
	}
	if c.queue.take(after) {
		c.wakeQueue()
	}
	if !c.own.made(after) {
		c.runner.Enqueue(after.Name)
	}
}

// configEvent wakes the pools that target a MachineConfig.
func (c *Controller) configEvent(before, after *metav1.PartialObjectMetadata) {
	m := cmp.Or(after, before)
	if after == nil {
		c.configs.forget(m.Name)
	}
	c.enqueueWhere(func(p *mcfgv1.MachineConfigPool) bool { return p.Spec.Configuration.Name == m.Name })
}

func (c *Controller) buildEvent(before, after *backend.Observation) {
	pool := cmp.Or(after, before).Pool.Name
	if after != nil {
		c.queue.seen(pool, after.UID)
	}
	ended := after == nil || before != nil && before.Phase.Active() && !after.Phase.Active()
	switch {
	case ended:
		c.runner.Enqueue(pool)
		c.wakeQueue()
	case after != nil && after.Phase.Active() && after.Message == "":
		// There is nothing to do but to tell, and most builds end before anybody could read it.
		c.runner.EnqueueAfter(pool, tellAfter)
	default:
		c.runner.Enqueue(pool)
	}
}

func (c *Controller) recordEvent(before, after *corev1.ConfigMap) {
	m := cmp.Or(after, before)
	if m.Labels[api.LabelRole] != api.RoleRecord {
		return
	}
	if written, ok := c.recorded.Load(m.Name); ok && after != nil && written == names.Content([]byte(after.Data[api.KeyRecord])) {
		return
	}
	// Who writes it back to what it was tells something all the same.
	c.recorded.Delete(m.Name)
	c.runner.Enqueue(m.Annotations[api.AnnotationPool])
}

// settingEvent wakes the pools that a user's ConfigMap concerns: all, or those
// whose custom Dockerfile changed.
func (c *Controller) settingEvent(before, after *corev1.ConfigMap) {
	name := cmp.Or(after, before).Name
	c.enqueueWhere(func(p *mcfgv1.MachineConfigPool) bool {
		return name != api.ConfigMapCustomDockerfile || text(before, p.Name) != text(after, p.Name)
	})
}

// text is a key of a ConfigMap; empty when either does not exist.
func text(cm *corev1.ConfigMap, key string) string {
	if cm == nil {
		return ""
	}
	if value, ok := cm.Data[key]; ok {
		return value
	}
	return string(cm.BinaryData[key])
}

// enqueueWhere enqueues the opted-in pools that a condition holds for.
func (c *Controller) enqueueWhere(holds func(*mcfgv1.MachineConfigPool) bool) {
	for _, p := range c.Informers.AllPools() {
		if mcp.OptedIn(p) && holds(p) {
			c.runner.Enqueue(p.Name)
		}
	}
}
