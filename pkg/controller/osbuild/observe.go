package osbuild

import (
	"context"
	"fmt"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// view is one pool's world at one moment.
type view struct {
	pool     *mcfgv1.MachineConfigPool
	desired  osbuild.Desired
	observed osbuild.Observed
	settings buildconfig.Settings
	now      time.Time
	// accessWrong: a user may mend a Secret or the service CA, which are not watched.
	accessWrong bool
}

func (v view) plan() osbuild.NextSteps { return osbuild.Plan(v.desired, v.observed, v.now) }

func (v view) status() []mcfgv1.MachineConfigPoolCondition {
	return osbuild.Status(v.desired, v.observed, v.now)
}

// observe gathers a pool's world. A live view reads the pool, the runs and the
// Secrets from the API server; it is nil when the pool is gone.
func (c *Controller) observe(ctx context.Context, name string, live bool) (*view, error) {
	pool, err := c.pool(ctx, name, live)
	if pool == nil || err != nil {
		return nil, err
	}
	v := &view{pool: pool, now: c.Clock.Now()}
	v.observed = osbuild.Observed{
		NewestImage: pool.Annotations[api.AnnotationNewestImage],
		ImageConfig: pool.Annotations[api.AnnotationImageConfig],
		Conditions:  pool.Status.Conditions,
	}
	all, err := c.builds(ctx, name, live, &v.observed)
	if err != nil {
		return nil, err
	}
	if v.observed.Records, err = c.records(ctx, name); err != nil {
		return nil, err
	}
	in, err := c.inputs(ctx, pool, v.observed)
	if err != nil {
		return nil, err
	}
	if live && in.OptedIn && len(in.Problems) == 0 {
		_, problems, err := c.access(ctx, in.Settings)
		if err != nil {
			return nil, err
		}
		in.Problems, v.accessWrong = problems, len(problems) > 0
	}
	v.desired = osbuild.Desire(in)
	v.observed.Slots = c.slots(pool, in.Settings, all)
	v.settings = in.Settings
	return v, c.askRegistry(ctx, v)
}

func (c *Controller) pool(ctx context.Context, name string, live bool) (*mcfgv1.MachineConfigPool, error) {
	var pool *mcfgv1.MachineConfigPool
	var err error
	if live {
		pool, err = c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(ctx, name, metav1.GetOptions{})
	} else {
		pool, err = c.Informers.PoolLister.Get(name)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading pool %q: %w", name, err)
	}
	if !live {
		pool = c.own.latest(pool)
	}
	return pool, nil
}

// builds fills in the pool's builds; a live view returns those of all pools.
func (c *Controller) builds(ctx context.Context, pool string, live bool, o *osbuild.Observed) ([]backend.Observation, error) {
	all, err := c.Backend.List(ctx, live)
	if err != nil {
		return nil, err
	}
	for _, b := range all {
		if b.Pool.Name == pool {
			o.Builds = append(o.Builds, b)
		}
	}
	return all, nil
}

// records reads the pool's build records. One that cannot be read counts as
// none: the worst that follows is a build that was not needed.
func (c *Controller) records(ctx context.Context, pool string) ([]osbuild.Record, error) {
	maps, err := c.Informers.BuildMapLister.ConfigMaps(c.Namespace).List(labels.SelectorFromSet(labels.Set{
		api.LabelRole: api.RoleRecord, api.LabelTargetPool: names.LabelValue(pool),
	}))
	if err != nil {
		return nil, fmt.Errorf("listing build records: %w", err)
	}
	var records []osbuild.Record
	for _, cm := range maps {
		r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
		if err != nil {
			klog.FromContext(ctx).Error(err, "Build record is not used", "configMap", klog.KObj(cm))
			r = osbuild.Record{RenderedConfig: cm.Annotations[api.AnnotationRenderedConfig]}
		}
		if cm.Annotations[api.AnnotationPool] == pool {
			records = append(records, r)
		}
	}
	return records, nil
}

func (c *Controller) inputs(ctx context.Context, pool *mcfgv1.MachineConfigPool, o osbuild.Observed) (osbuild.Inputs, error) {
	_, optedIn := pool.Labels[api.LabelLayeringEnabled]
	target := pool.Spec.Configuration.Name
	in := osbuild.Inputs{
		Pool:                buildspec.Pool{Name: pool.Name, UID: pool.UID},
		OptedIn:             optedIn && pool.DeletionTimestamp == nil,
		TargetConfig:        target,
		RenderDegraded:      renderDegraded(pool),
		CustomDockerfile:    text(c.Informers.Setting(api.ConfigMapCustomDockerfile), pool.Name),
		RebuildToken:        osbuild.RebuildToken(pool.Annotations[api.AnnotationRebuild], target, o),
		RunKind:             c.Backend.Kind(),
		DefaultBuilderImage: c.BuilderImage,
	}
	in.Settings, in.Problems = buildconfig.Read(c.Informers.Setting(api.ConfigMapBuildConfig), c.Informers.Setting(api.ConfigMapOSImageURL))
	if !in.OptedIn {
		return in, nil
	}
	var err error
	in.Config, err = c.configs.get(ctx, target)
	return in, err
}

func renderDegraded(pool *mcfgv1.MachineConfigPool) *string {
	for _, cond := range pool.Status.Conditions {
		if cond.Type == mcfgv1.MachineConfigPoolRenderDegraded && cond.Status == corev1.ConditionTrue {
			return &cond.Message
		}
	}
	return nil
}

// slots counts the builds of other pools, and the pools that have waited longer.
func (c *Controller) slots(pool *mcfgv1.MachineConfigPool, s buildconfig.Settings, all []backend.Observation) osbuild.Slots {
	slots := osbuild.Slots{Free: s.MaxConcurrentBuilds}
	for _, b := range all {
		if b.Phase.Active() && b.Pool.Name != pool.Name {
			slots.Free--
		}
	}
	pools, err := c.Informers.PoolLister.List(labels.Everything())
	if err != nil {
		return slots // a lister's List has no error to give
	}
	waits := waitsForSlot(pool)
	for _, other := range pools {
		if other.Name == pool.Name {
			continue
		}
		if waitsForSlot(other) && (!waits || waitsLonger(other, pool)) {
			slots.Ahead++
		}
	}
	return slots
}
