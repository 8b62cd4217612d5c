package retention

import (
	"context"
	"fmt"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

// look is one pool at one moment.
type look struct {
	pool     *mcfgv1.MachineConfigPool
	images   retention.Pool
	settings buildconfig.Settings
	now      time.Time
	// names are what is known to name images.
	names retention.Names
}

func (l look) plan(grace time.Duration) retention.Steps {
	return retention.Plan(l.images, retention.Policy{Keep: l.settings.ImagesToKeep, Grace: grace}, l.names, l.now)
}

// look gathers a pool from the caches or, live, from the API server together
// with what names images elsewhere. It is nil for a pool without images to
// think of: one that is gone or not opted in, or whose settings are wrong.
func (c *Controller) look(ctx context.Context, name string, live bool) (*look, error) {
	settings, problems := buildconfig.Read(c.Informers.Setting(api.ConfigMapBuildConfig), c.Informers.Setting(api.ConfigMapOSImageURL))
	pool, err := kube.ReadPool(ctx, c.Clients, c.Informers, name, live)
	if pool == nil || err != nil {
		return nil, err
	}
	if !mcp.OptedIn(pool) || len(problems) > 0 {
		return nil, nil
	}
	c.doubtAfter(settings)
	l := &look{pool: pool, settings: settings, now: c.Clock.Now()}
	l.images = retention.Pool{
		Name: name, Target: pool.Spec.Configuration.Name, Built: mcp.True(pool.Status.Conditions, mcfgv1.MachineConfigPoolBuildSuccess) != nil,
		NewestImage: pool.Annotations[api.AnnotationNewestImage], ImageConfig: pool.Annotations[api.AnnotationImageConfig],
		NotBefore: c.holds[name].times(),
	}
	maps := c.Informers.BuildMapsOf(name)
	if live {
		if maps, err = c.recordMaps(ctx, name); err != nil {
			return nil, err
		}
		if l.names, err = c.names.read(ctx, c, settings); err != nil {
			return nil, err
		}
	}
	l.images.Records = records(ctx, maps, pool)
	return l, nil
}

// recordMaps reads the ConfigMaps of a pool's records from the API server.
func (c *Controller) recordMaps(ctx context.Context, pool string) ([]*corev1.ConfigMap, error) {
	list, err := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{
		api.LabelRole: api.RoleRecord, api.LabelTargetPool: names.LabelValue(pool),
	}.String()})
	if err != nil {
		return nil, fmt.Errorf("listing build records of pool %q: %w", pool, err)
	}
	var maps []*corev1.ConfigMap
	for i := range list.Items {
		// A label holds a long name in part only.
		if m := &list.Items[i]; m.Annotations[api.AnnotationPool] == pool {
			maps = append(maps, m)
		}
	}
	return maps, nil
}

// records are those of this very pool. One that cannot be read names no image.
func records(ctx context.Context, maps []*corev1.ConfigMap, pool *mcfgv1.MachineConfigPool) []osbuild.Record {
	var records []osbuild.Record
	for _, m := range maps {
		if m.Labels[api.LabelRole] != api.RoleRecord || m.Annotations[api.AnnotationPoolUID] != string(pool.UID) {
			continue
		}
		r, err := osbuild.ParseRecord([]byte(m.Data[api.KeyRecord]))
		if err != nil {
			klog.FromContext(ctx).V(2).Info("Build record names no image", "configMap", klog.KObj(m), "cause", err.Error())
			r = osbuild.Record{RenderedConfig: m.Annotations[api.AnnotationRenderedConfig]}
		}
		records = append(records, r)
	}
	return records
}

// namesFor is how long one read of what names images serves: when many pools
// have images to delete at once, it is not the nodes of the whole cluster for each.
const namesFor = 5 * time.Second

// namesCache holds what names images, of all pools.
type namesCache struct {
	at    time.Time
	names retention.Names
}

// read reads nodes and pools from the API server; the records of other pools
// are those of the cache.
func (n *namesCache) read(ctx context.Context, c *Controller, s buildconfig.Settings) (retention.Names, error) {
	if c.Clock.Since(n.at) < namesFor {
		return n.names, nil
	}
	at := c.Clock.Now()
	var found retention.Names
	found.Add(s.BaseImage)
	found.Add(s.ExtensionsImage)
	pools, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().List(ctx, metav1.ListOptions{})
	if err != nil {
		return found, fmt.Errorf("listing pools: %w", err)
	}
	for i := range pools.Items {
		found.AddResult(pools.Items[i].Name, pools.Items[i].Annotations[api.AnnotationNewestImage])
	}
	err = kube.EachNode(ctx, c.Clients, func(node *metav1.PartialObjectMetadata) {
		found.Add(node.Annotations[api.AnnotationCurrentImage])
		found.Add(node.Annotations[api.AnnotationDesiredImage])
	})
	if err != nil {
		return found, err
	}
	maps, err := c.Informers.BuildMapLister.List(labels.SelectorFromSet(labels.Set{api.LabelRole: api.RoleRecord}))
	if err != nil {
		return found, fmt.Errorf("listing build records: %w", err)
	}
	for _, m := range maps {
		if r, err := osbuild.ParseRecord([]byte(m.Data[api.KeyRecord])); err == nil {
			found.AddRecord(r)
		}
	}
	n.at, n.names = at, found
	return found, nil
}
