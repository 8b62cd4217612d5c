package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/poolstatus"
	"github.com/machine-os-builder/machine-os-builder/pkg/render"
)

// fieldManager owns spec.configuration of the pools.
const fieldManager = "machine-os-builder-render"

// sync renders one pool.
func (c *Controller) sync(ctx context.Context, name string) (time.Duration, error) {
	pool, err := kube.ReadPool(ctx, c.Clients, c.Informers, name, false)
	if pool == nil || err != nil || pool.DeletionTimestamp != nil {
		return 0, err
	}
	if pool.Spec.MachineConfigSelector == nil && pool.Spec.Configuration.Name != "" {
		// Whoever set that renders for it.
		return 0, c.write(ctx, pool, poolstatus.Unrendered(pool.Status.Conditions))
	}
	configs, err := c.configs()
	if err != nil {
		return 0, err
	}
	rendered, err := c.render(ctx, pool, configs)
	if err == nil {
		err = c.settle(ctx, pool, rendered)
	}
	problem, after, failed := sortOut(err)
	if problem != nil || failed == nil {
		failed = errors.Join(failed, c.tell(ctx, pool, problem))
	}
	if failed != nil || rendered == nil {
		return after, failed
	}
	again, err := c.collect(ctx, pool, configs, rendered.Config.Name)
	return cmp.Or(after, again), err
}

// configs are the cached MachineConfigs, without their content.
func (c *Controller) configs() ([]*metav1.PartialObjectMetadata, error) {
	objects, err := c.Informers.ConfigLister.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing MachineConfigs: %w", err)
	}
	configs := make([]*metav1.PartialObjectMetadata, 0, len(objects))
	for _, obj := range objects {
		if m, ok := obj.(*metav1.PartialObjectMetadata); ok {
			configs = append(configs, m)
		}
	}
	return configs, nil
}

// metadata is that of a cached MachineConfig; nil when there is none.
func (c *Controller) metadata(name string) (metav1.Object, error) {
	obj, err := c.Informers.ConfigLister.Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up MachineConfig %q: %w", name, err)
	}
	return meta.Accessor(obj)
}

// render merges what a pool selects; each MachineConfig is read once a version.
func (c *Controller) render(ctx context.Context, pool *mcfgv1.MachineConfigPool, configs []*metav1.PartialObjectMetadata) (*render.Rendered, error) {
	render.Keep(&c.sources, configs)
	selected, warnings, err := render.Select(pool, configs)
	if err != nil {
		return nil, err
	}
	sources := make([]*render.Source, 0, len(selected))
	for _, m := range selected {
		source := c.sources.Find(m)
		if source == nil {
			mc, err := c.read(ctx, m.Name)
			if err != nil {
				return nil, err
			}
			if source, err = c.sources.Read(mc); err != nil {
				return nil, err
			}
		}
		sources = append(sources, source)
	}
	rendered, err := render.Render(pool, sources, c.Version)
	if rendered != nil {
		rendered.Warnings = append(warnings, rendered.Warnings...)
	}
	return rendered, err
}

func (c *Controller) read(ctx context.Context, name string) (*mcfgv1.MachineConfig, error) {
	mc, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading MachineConfig %q: %w", name, err)
	}
	return mc, nil
}

// settle creates a rendered config that does not exist, makes the pool target it
// and tells of warnings that it did not have.
func (c *Controller) settle(ctx context.Context, pool *mcfgv1.MachineConfigPool, rendered *render.Rendered) error {
	name := rendered.Config.Name
	m, err := c.metadata(name)
	if err != nil {
		return err
	}
	known, _ := c.settled.Load(pool.Name)
	was, _ := known.(settled)
	if was.pool != pool.UID || was.name != name {
		was = settled{pool: pool.UID, name: name}
	}
	if m == nil || was.config != m.GetResourceVersion() {
		config, err := c.ensure(ctx, pool, rendered, m != nil)
		if err != nil {
			return err
		}
		was.config, was.sources = config.ResourceVersion, nil
	}
	if pool.Spec.Configuration.Name != name || !reflect.DeepEqual(was.sources, rendered.Sources) {
		if err := c.target(ctx, pool, rendered); err != nil {
			return err
		}
		was.sources = rendered.Sources
	}
	if !slices.Equal(was.told, rendered.Warnings) {
		for _, w := range rendered.Warnings {
			c.Recorder.Event(pool, corev1.EventTypeWarning, api.EventRenderWarning, w)
		}
		was.told = rendered.Warnings
	}
	c.settled.Store(pool.Name, was)
	return nil
}

// ensure creates a rendered config, or verifies the one that is there. cached
// says that there is one, as far as the cache knows.
func (c *Controller) ensure(ctx context.Context, pool *mcfgv1.MachineConfigPool, rendered *render.Rendered, cached bool) (*mcfgv1.MachineConfig, error) {
	if !cached {
		created, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs().Create(ctx, rendered.Config, metav1.CreateOptions{FieldManager: fieldManager})
		if err == nil {
			c.tellRendered(ctx, pool, rendered)
			return created, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("%w of pool %q: %w", errCreating, pool.Name, err)
		}
	}
	existing, err := c.read(ctx, rendered.Config.Name)
	if err != nil {
		return nil, err
	}
	return existing, render.Verify(existing, rendered.Config)
}

func (c *Controller) tellRendered(ctx context.Context, pool *mcfgv1.MachineConfigPool, rendered *render.Rendered) {
	klog.FromContext(ctx).Info("Rendered", "config", rendered.Config.Name, "sources", len(rendered.Sources))
	c.Recorder.Eventf(pool, corev1.EventTypeNormal, api.EventRendered, "%s is rendered of %d MachineConfigs", rendered.Config.Name, len(rendered.Sources))
}

// target makes a pool target its rendered config, unless it does, with the same
// sources: those are not in the cache.
func (c *Controller) target(ctx context.Context, pool *mcfgv1.MachineConfigPool, rendered *render.Rendered) error {
	live, err := kube.ReadPool(ctx, c.Clients, c.Informers, pool.Name, true)
	if live == nil || err != nil {
		return err
	}
	if have := live.Spec.Configuration; live.UID != pool.UID || have.Name == rendered.Config.Name && reflect.DeepEqual(have.Source, rendered.Sources) {
		return nil
	}
	klog.FromContext(ctx).Info("Targeting", "config", rendered.Config.Name, "before", live.Spec.Configuration.Name)
	return kube.SetPoolConfiguration(ctx, c.Clients.MachineConfig, pool, rendered.Config.Name, rendered.Sources, fieldManager)
}

// tell writes the condition RenderDegraded when it differs, then tells of it.
func (c *Controller) tell(ctx context.Context, pool *mcfgv1.MachineConfigPool, problem *poolstatus.Problem) error {
	conditions := poolstatus.Rendered(pool.Status.Conditions, problem, c.Clock.Now())
	news := !reflect.DeepEqual(conditions, pool.Status.Conditions)
	if err := c.write(ctx, pool, conditions); err != nil {
		return err
	}
	if news && problem != nil {
		c.Recorder.Event(pool, corev1.EventTypeWarning, api.EventRenderFailed, problem.Message)
	}
	return nil
}

// write writes a pool's conditions when they differ.
func (c *Controller) write(ctx context.Context, pool *mcfgv1.MachineConfigPool, conditions []mcfgv1.MachineConfigPoolCondition) error {
	if reflect.DeepEqual(conditions, pool.Status.Conditions) {
		return nil
	}
	_, err := kube.SetPoolConditions(ctx, c.Clients.MachineConfig, pool, conditions)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// degraded is a pool's condition RenderDegraded; nil when there is none.
func degraded(pool *mcfgv1.MachineConfigPool) *mcfgv1.MachineConfigPoolCondition {
	for i, c := range pool.Status.Conditions {
		if c.Type == mcfgv1.MachineConfigPoolRenderDegraded {
			return &pool.Status.Conditions[i]
		}
	}
	return nil
}
