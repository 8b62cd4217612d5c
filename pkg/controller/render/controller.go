package render

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/render"
)

// Name of the loop in logs and metrics.
const Name = "render"

// workers render pools side by side.
const workers = 2

// SettleTime is how long a change waits for others: who applies many
// MachineConfigs wants one rendered config of them, and one build.
const SettleTime = 2 * time.Second

// Options are what the loop is made of.
type Options struct {
	Clients kube.Clients
	// Informers watch nodes, too.
	Informers *kube.Informers
	// Version is that of the controller, for the annotation of rendered configs.
	Version string
	// Convert is for configs of Ignition's spec 2.
	Convert  ignition.Converter
	Recorder record.EventRecorder
	Clock    clock.WithTicker
	// SettleTime is that of the package, unless it is set.
	SettleTime time.Duration
}

// Controller is the loop.
type Controller struct {
	Options
	runner  *controller.Runner
	sources render.Cache
	live    liveNames
	// settled is what each pool was found or made to have, by name.
	settled sync.Map
}

// settled is what needs no look at the API server: the version of a rendered
// config that was verified, the sources that the pool was given with it, and the
// warnings that were told of it.
type settled struct {
	pool    types.UID
	name    string
	config  string
	sources []corev1.ObjectReference
	told    []string
}

// New wires the loop to its informers, which must not run yet.
func New(o Options) (*Controller, error) {
	o.SettleTime = cmp.Or(o.SettleTime, SettleTime)
	c := &Controller{Options: o, sources: render.Cache{Convert: o.Convert}}
	c.runner = controller.NewRunner(Name, o.Clock, c.sync)
	return c, errors.Join(
		kube.Listen(c.Informers.Pools, c.poolEvent),
		kube.Listen(c.Informers.Configs, c.configEvent),
		kube.Listen(c.Informers.Nodes, c.nodeEvent),
		kube.Listen(c.Informers.BuildMaps, c.recordEvent),
	)
}

// Run works until the context ends, then waits for what is under way.
func (c *Controller) Run(ctx context.Context) { c.runner.Run(ctx, workers) }

func (c *Controller) wake(pool string) { c.runner.EnqueueAfter(pool, c.SettleTime) }

// poolEvent passes over what others tell in a pool's status.
func (c *Controller) poolEvent(before, after *mcfgv1.MachineConfigPool) {
	switch {
	case after == nil:
		c.settled.Delete(before.Name)
	case before == nil || before.UID != after.UID || !reflect.DeepEqual(before.Spec, after.Spec) ||
		before.Status.Configuration.Name != after.Status.Configuration.Name || !reflect.DeepEqual(degraded(before), degraded(after)):
		c.wake(after.Name)
	}
}

// configEvent wakes the pool that a rendered config belongs to, or those that
// select a MachineConfig, or did. A stranger that has the name of a pool's rendered
// config is in that pool's way.
func (c *Controller) configEvent(before, after *metav1.PartialObjectMetadata) {
	m := cmp.Or(after, before)
	owner, rendered := render.PoolOf(m)
	if rendered {
		c.wake(owner)
		if names.IsRendered(m.Name, owner) {
			return
		}
	}
	for _, p := range c.Informers.AllPools() {
		selector, err := metav1.LabelSelectorAsSelector(p.Spec.MachineConfigSelector)
		selects := !rendered && err == nil && (matches(selector, before) || matches(selector, after))
		if selects || names.IsRendered(m.Name, p.Name) {
			c.wake(p.Name)
		}
	}
}

func matches(selector labels.Selector, m *metav1.PartialObjectMetadata) bool {
	return m != nil && selector.Matches(labels.Set(m.Labels))
}

// nodeEvent wakes the pools whose rendered configs a node does not name any more.
func (c *Controller) nodeEvent(before, after *corev1.Node) {
	if before == nil {
		return
	}
	for _, key := range []string{api.AnnotationCurrentConfig, api.AnnotationDesiredConfig} {
		if name := before.Annotations[key]; name != "" && (after == nil || after.Annotations[key] != name) {
			c.enqueueOwner(name)
		}
	}
}

// recordEvent wakes the pool whose rendered config has no build record any more.
func (c *Controller) recordEvent(before, after *corev1.ConfigMap) {
	if after == nil && before.Labels[api.LabelRole] == api.RoleRecord {
		c.enqueueOwner(before.Annotations[api.AnnotationRenderedConfig])
	}
}

func (c *Controller) enqueueOwner(config string) {
	m, err := c.metadata(config)
	if err != nil || m == nil {
		return
	}
	if pool, rendered := render.PoolOf(m); rendered {
		c.wake(pool)
	}
}
