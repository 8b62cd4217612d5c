package render

import (
	"context"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/render"
)

// collect deletes a pool's rendered configs that nothing names. A deletion costs,
// so what the caches let go is looked at again from live reads.
func (c *Controller) collect(ctx context.Context, pool *mcfgv1.MachineConfigPool, configs []*metav1.PartialObjectMetadata, target string) error {
	if len(render.Collectable(pool, configs, nil)) == 0 {
		return nil
	}
	named, err := c.cachedNames()
	if err != nil {
		return err
	}
	named.Add(target)
	if len(render.Collectable(pool, configs, named)) == 0 {
		return nil
	}
	if err := c.addLiveNames(ctx, named); err != nil {
		return err
	}
	for _, name := range render.Collectable(pool, configs, named) {
		m, err := c.metadata(name)
		if err != nil {
			return err
		}
		if m == nil {
			continue
		}
		uid, version := m.GetUID(), m.GetResourceVersion()
		err = c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs().Delete(ctx, name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
		})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting rendered config %q: %w", name, err)
		}
		klog.FromContext(ctx).Info("Deleted rendered config that nothing names", "config", name)
	}
	return nil
}

// cachedNames are the rendered configs that pools, nodes and build records name.
func (c *Controller) cachedNames() (render.Names, error) {
	named := render.Names{}
	pools, err := c.Informers.PoolLister.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing pools: %w", err)
	}
	for _, p := range pools {
		named.AddPool(p)
	}
	nodes, err := c.Informers.NodeLister.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	for _, n := range nodes {
		named.AddNode(n)
	}
	maps, err := c.Informers.BuildMapLister.List(labels.SelectorFromSet(labels.Set{api.LabelRole: api.RoleRecord}))
	if err != nil {
		return nil, fmt.Errorf("listing build records: %w", err)
	}
	for _, m := range maps {
		named.Add(m.Annotations[api.AnnotationRenderedConfig])
	}
	return named, nil
}

// addLiveNames adds what pools and nodes name now. A record is made for what a
// pool targets, so one that the caches do not have yet names nothing else.
func (c *Controller) addLiveNames(ctx context.Context, named render.Names) error {
	pools, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing pools: %w", err)
	}
	for i := range pools.Items {
		named.AddPool(&pools.Items[i])
	}
	return kube.EachNode(ctx, c.Clients, func(n *metav1.PartialObjectMetadata) { named.AddNode(n) })
}
