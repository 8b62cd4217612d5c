package render

import (
	"context"
	"fmt"
	"sync"
	"time"

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
// so what the caches let go is looked at again from live reads. It returns when to
// look once more at what those did not let go.
func (c *Controller) collect(ctx context.Context, pool *mcfgv1.MachineConfigPool, configs []*metav1.PartialObjectMetadata, target string) (time.Duration, error) {
	if len(render.Collectable(pool, configs, nil)) == 0 {
		return 0, nil
	}
	named, err := c.cachedNames()
	if err != nil {
		return 0, err
	}
	named.Add(target)
	unnamed := render.Collectable(pool, configs, named)
	if len(unnamed) == 0 {
		return 0, nil
	}
	live, err := c.live.read(ctx, c)
	if err != nil {
		return 0, err
	}
	for name := range live {
		named.Add(name)
	}
	sure := render.Collectable(pool, configs, named)
	for _, name := range sure {
		if err := c.delete(ctx, name); err != nil {
			return 0, err
		}
	}
	if len(sure) < len(unnamed) {
		return namesFor, nil
	}
	return 0, nil
}

// delete deletes a MachineConfig as the cache has it, and no other.
func (c *Controller) delete(ctx context.Context, name string) error {
	m, err := c.metadata(name)
	if m == nil || err != nil {
		return err
	}
	uid, version := m.GetUID(), m.GetResourceVersion()
	err = c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs().Delete(ctx, name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting rendered config %q: %w", name, err)
	}
	klog.FromContext(ctx).Info("Deleted rendered config that nothing names", "config", name)
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

// namesFor is how long one live read of what names rendered configs serves: a
// change of a MachineConfig that many pools share has all of them collect.
const namesFor = 5 * time.Second

// liveNames holds what pools and nodes name, of all pools.
type liveNames struct {
	mu    sync.Mutex
	at    time.Time
	names render.Names
}

// read reads what pools and nodes name from the API server. A record is made for
// what a pool targets, so one that the caches do not have yet names nothing else.
func (l *liveNames) read(ctx context.Context, c *Controller) (render.Names, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.Clock.Since(l.at) < namesFor {
		return l.names, nil
	}
	at, named := c.Clock.Now(), render.Names{}
	pools, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing pools: %w", err)
	}
	for i := range pools.Items {
		named.AddPool(&pools.Items[i])
	}
	if err := kube.EachNode(ctx, c.Clients, func(n *metav1.PartialObjectMetadata) { named.AddNode(n) }); err != nil {
		return nil, err
	}
	l.at, l.names = at, named
	return named, nil
}
