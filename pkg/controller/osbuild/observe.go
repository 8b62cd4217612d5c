package osbuild

import (
	"context"
	"runtime"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// view is one pool's world at one moment.
type view struct {
	pool     *mcfgv1.MachineConfigPool
	desired  osbuild.Desired
	observed osbuild.Observed
	settings buildconfig.Settings
	now      time.Time
	// secrets are what must not be shown of the credentials that were read; nil
	// while none were.
	secrets []string
	// accessWrong: a user may mend a Secret, a certificate authority, mirrors or the proxy,
	// which are not watched.
	accessWrong bool
}

func (v view) plan() osbuild.NextSteps { return osbuild.Plan(v.desired, v.observed, v.now) }

func (v view) status() []mcfgv1.MachineConfigPoolCondition {
	return osbuild.Status(v.desired, v.observed, v.now)
}

// observe gathers a pool's world. A live view reads the pool, the runs and the
// Secrets from the API server; it is nil when the pool is gone.
func (c *Controller) observe(ctx context.Context, name string, live bool) (*view, error) {
	pool, err := kube.ReadPool(ctx, c.Clients, c.Informers, name, live)
	if pool == nil || err != nil {
		return nil, err
	}
	if !live {
		pool = c.own.latest(pool)
	}
	v := &view{pool: pool, now: c.Clock.Now()}
	v.observed = osbuild.Observed{
		NewestImage: pool.Annotations[api.AnnotationNewestImage],
		ImageConfig: pool.Annotations[api.AnnotationImageConfig],
		Conditions:  pool.Status.Conditions,
	}
	if v.observed.Builds, err = c.Backend.List(ctx, name, live); err != nil {
		return nil, err
	}
	v.observed.Records = c.records(ctx, name)
	in, err := c.inputs(ctx, pool, v.observed)
	if err != nil {
		return nil, err
	}
	if live && in.OptedIn && len(in.Problems) == 0 {
		in.Network, in.Problems, err = c.network(ctx, in.Settings)
		if err != nil {
			return nil, err
		}
		if v.accessWrong = len(in.Problems) > 0; !v.accessWrong {
			c.mended(name)
		}
	}
	v.desired = osbuild.Desire(in)
	v.observed.Slots = c.queue.slots(name, in.Settings.MaxConcurrentBuilds, c.Backend.Active)
	v.settings = in.Settings
	c.measure(v)
	return v, c.askRegistry(ctx, v)
}

// records reads the pool's build records. One that cannot be read counts as
// none: the worst that follows is a build that was not needed.
func (c *Controller) records(ctx context.Context, pool string) []osbuild.Record {
	var records []osbuild.Record
	for _, cm := range c.Informers.BuildMapsOf(pool) {
		if cm.Labels[api.LabelRole] != api.RoleRecord {
			continue
		}
		r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
		if err != nil {
			klog.FromContext(ctx).Error(err, "Build record is not used", "configMap", klog.KObj(cm))
			r = osbuild.Record{RenderedConfig: cm.Annotations[api.AnnotationRenderedConfig]}
		}
		records = append(records, r)
	}
	return records
}

func (c *Controller) inputs(ctx context.Context, pool *mcfgv1.MachineConfigPool, o osbuild.Observed) (osbuild.Inputs, error) {
	target := pool.Spec.Configuration.Name
	in := osbuild.Inputs{
		Pool:                buildspec.Pool{Name: pool.Name, UID: pool.UID},
		OptedIn:             mcp.OptedIn(pool),
		TargetConfig:        target,
		RenderDegraded:      renderDegraded(pool),
		CustomDockerfile:    text(c.Informers.Setting(api.ConfigMapCustomDockerfile), pool.Name),
		RebuildToken:        osbuild.RebuildToken(pool.Annotations[api.AnnotationRebuild], target, o),
		RebuildRequest:      pool.Annotations[api.AnnotationRebuild],
		BuildsServed:        c.Informers.Builds != nil && c.Informers.Builds.Served(),
		DefaultBuilderImage: c.BuilderImage,
		Architecture:        runtime.GOARCH,
	}
	in.Settings, in.Problems = buildconfig.Read(c.Informers.Setting(api.ConfigMapBuildConfig), c.Informers.Setting(api.ConfigMapOSImageURL))
	if !in.OptedIn {
		return in, nil
	}
	var err error
	in.Config, err = c.configs.get(ctx, target, o.Records)
	return in, err
}

func renderDegraded(pool *mcfgv1.MachineConfigPool) *string {
	if c := mcp.True(pool.Status.Conditions, mcfgv1.MachineConfigPoolRenderDegraded); c != nil {
		return &c.Message
	}
	return nil
}
