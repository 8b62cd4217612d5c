package retention

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

// Name of the loop in logs and metrics.
const Name = "retention"

// Options are what the loop is made of.
type Options struct {
	Clients   kube.Clients
	Informers *kube.Informers
	Namespace string
	Recorder  record.EventRecorder
	Metrics   *metrics.Images
	Clock     clock.WithTicker
	// Grace is the time between the two looks; 0 for retention.Grace.
	Grace time.Duration
	// Delete deletes an image, repository@digest; nil for the real way.
	Delete func(ctx context.Context, image string, a kube.RegistryAccess) error
}

// Controller is the loop.
type Controller struct {
	Options
	runner    *controller.Runner
	deletions *deletions
	// The worker's own: it is only one.
	names    namesCache
	holds    map[string]holds
	refusals refusals
	// settings are those of the last look; with others what was refused may be allowed.
	settings buildconfig.Settings
	// Build caches are deleted by a worker of their own, which may wait for a registry.
	cacheRunner *controller.Runner
	caches      caches
}

// New wires the loop to its informers, which must not run yet.
func New(o Options) (*Controller, error) {
	o.Grace = cmp.Or(o.Grace, retention.Grace)
	if o.Delete == nil {
		o.Delete = deleteOnce
	}
	c := &Controller{Options: o, holds: map[string]holds{}, refusals: refusals{}, caches: newCaches()}
	c.runner = controller.NewRunner(Name, o.Clock, c.sync)
	c.cacheRunner = controller.NewRunner(Name+"-caches", o.Clock, c.syncCache)
	c.deletions = newDeletions(c.runner.Enqueue)
	return c, errors.Join(
		kube.Listen(c.Informers.Pools, func(before, after *mcfgv1.MachineConfigPool) {
			c.runner.Enqueue(cmp.Or(after, before).Name)
			c.cacheRunner.Enqueue(cmp.Or(after, before).Name)
		}),
		kube.Listen(c.Informers.BuildMaps, func(before, after *corev1.ConfigMap) {
			if m := cmp.Or(after, before); m.Labels[api.LabelRole] == api.RoleRecord {
				c.runner.Enqueue(m.Annotations[api.AnnotationPool])
			}
		}),
		kube.Listen(c.Informers.Settings[api.ConfigMapBuildConfig], c.settingEvent),
		kube.Listen(c.Informers.Settings[api.ConfigMapOSImageURL], c.settingEvent),
	)
}

// Run works until the context ends, then waits for what is under way.
func (c *Controller) Run(ctx context.Context) {
	var caches sync.WaitGroup
	caches.Go(func() { c.cacheRunner.Run(ctx, 1) })
	c.runner.Run(ctx, 1)
	caches.Wait()
	c.deletions.wait()
}

// settingEvent wakes all pools: how many images are kept may have changed, and
// while settings are wrong nothing is thought of.
func (c *Controller) settingEvent(_, _ *corev1.ConfigMap) {
	for _, p := range c.Informers.AllPools() {
		c.runner.Enqueue(p.Name)
		c.cacheRunner.Enqueue(p.Name)
	}
}
