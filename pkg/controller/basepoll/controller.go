package basepoll

import (
	"context"
	"errors"
	"slices"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// Name of the loop in logs and metrics.
const Name = "basepoll"

// timeout bounds one question to a registry. The loop has a worker of its own,
// which nobody waits for.
const timeout = 30 * time.Second

// Options are what the loop is made of.
type Options struct {
	Clients   kube.Clients
	Informers *kube.Informers
	Namespace string
	Clock     clock.WithTicker
	// Resolve returns the digest that a pullspec names; nil for the real way.
	Resolve func(ctx context.Context, pullspec string, o registry.Options) (string, error)
	// Members returns the digests of the images of an index that a pullspec names; nil
	// for the real way.
	Members func(ctx context.Context, pullspec string, o registry.Options) ([]string, error)
}

// Controller is the loop.
type Controller struct {
	Options
	runner *controller.Runner
	// resolved is what pullspecs named. It is the worker's own, which is only one.
	resolved map[string]resolved
	// told is, for each pool, of which last build the log says that it missed what
	// it was asked for. It is the worker's own too.
	told map[string]string
}

// resolved is what a pullspec named, and when, with the images of that index where
// somebody had to know.
type resolved struct {
	digest  string
	members []string
	at      time.Time
}

// New wires the loop to its informers, which must not run yet.
func New(o Options) (*Controller, error) {
	if o.Resolve == nil {
		o.Resolve = resolveOnce
	}
	if o.Members == nil {
		o.Members = membersOnce
	}
	c := &Controller{Options: o, resolved: map[string]resolved{}, told: map[string]string{}}
	c.runner = controller.NewRunner(Name, o.Clock, c.sync)
	return c, errors.Join(
		kube.Listen(c.Informers.Pools, c.poolEvent),
		kube.Listen(c.Informers.Settings[api.ConfigMapBuildConfig], c.settingEvent),
		kube.Listen(c.Informers.Settings[api.ConfigMapOSImageURL], c.settingEvent),
	)
}

func resolveOnce(ctx context.Context, pullspec string, o registry.Options) (string, error) {
	client, err := registry.NewClient(o)
	if err != nil {
		return "", err
	}
	defer client.Close()
	return client.Resolve(ctx, pullspec)
}

func membersOnce(ctx context.Context, pullspec string, o registry.Options) ([]string, error) {
	client, err := registry.NewClient(o)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	info, err := client.Inspect(ctx, pullspec)
	return info.Members, err
}

// Run works until the context ends, then waits for what is under way.
func (c *Controller) Run(ctx context.Context) { c.runner.Run(ctx, 1) }

func (c *Controller) poolEvent(before, after *mcfgv1.MachineConfigPool) {
	if wakes(before, after) {
		c.runner.Enqueue(after.Name)
	}
}

// settingEvent wakes all pools: the interval may have changed, and while settings
// are wrong nothing is polled.
func (c *Controller) settingEvent(_, _ *corev1.ConfigMap) {
	for _, p := range c.Informers.AllPools() {
		c.runner.Enqueue(p.Name)
	}
}

// sync looks at the base of one pool. A registry that does not answer is
// asked again at the next interval.
func (c *Controller) sync(ctx context.Context, name string) (time.Duration, error) {
	settings, problems := buildconfig.Read(c.Informers.Setting(api.ConfigMapBuildConfig), c.Informers.Setting(api.ConfigMapOSImageURL))
	pool, err := kube.ReadPool(ctx, c.Clients, c.Informers, name, false)
	if err != nil {
		return 0, err
	}
	if settings.BaseImagePollInterval == 0 || len(problems) > 0 || pool == nil || !polled(pool) {
		return 0, nil
	}
	on := baseOf(pool, c.records(pool), settings.BaseImage)
	if on == nil {
		return settings.BaseImagePollInterval, nil
	}
	now, stays, err := c.names(ctx, on, settings)
	if err != nil {
		klog.FromContext(ctx).Info("Base image is not looked at", "image", on.pullspec, "cause", err.Error())
		return settings.BaseImagePollInterval, nil
	}
	switch {
	case stays:
	case now == on.missed:
		if c.told[name] != on.last {
			c.told[name] = on.last
			klog.FromContext(ctx).Info("The last build did not find the base image that it was asked for: no rebuild until the tag names another one", "image", on.pullspec, "digest", now)
		}
	default:
		err = c.ask(ctx, name, on, now)
	}
	return settings.BaseImagePollInterval, err
}

// records are those of a pool that can be read.
func (c *Controller) records(pool *mcfgv1.MachineConfigPool) []osbuild.Record {
	var records []osbuild.Record
	for _, m := range c.Informers.BuildMapsOf(pool.Name) {
		r, err := osbuild.ParseRecord([]byte(m.Data[api.KeyRecord]))
		if m.Labels[api.LabelRole] == api.RoleRecord && err == nil && r.Pool.UID == pool.UID {
			records = append(records, r)
		}
	}
	return records
}

// names returns what a pool's base names now, and whether its image is on that.
func (c *Controller) names(ctx context.Context, on *base, s buildconfig.Settings) (string, bool, error) {
	known, err := c.resolve(ctx, on, s)
	if err != nil || known.digest == on.digest || !on.perhapsMember {
		return known.digest, known.digest == on.digest, err
	}
	if known.members == nil {
		err = c.read(ctx, s, func(ctx context.Context, o registry.Options) error {
			known.members, err = c.Members(ctx, on.pullspec, o)
			return err
		})
		if err != nil {
			return "", false, err
		}
		c.resolved[on.pullspec] = known
	}
	return known.digest, slices.Contains(known.members, on.digest), nil
}

// resolve asks once for all pools that have a base in common, but for those that
// were built since: their builds may have found a newer one.
func (c *Controller) resolve(ctx context.Context, on *base, s buildconfig.Settings) (resolved, error) {
	known := c.resolved[on.pullspec]
	if known.at.After(on.built) && c.Clock.Since(known.at) < s.BaseImagePollInterval/2 {
		return known, nil
	}
	now := resolved{at: c.Clock.Now()}
	err := c.read(ctx, s, func(ctx context.Context, o registry.Options) (err error) {
		now.digest, err = c.Resolve(ctx, on.pullspec, o)
		return err
	})
	if err != nil {
		return resolved{}, err
	}
	if now.digest == known.digest {
		now.members = known.members
	}
	c.resolved[on.pullspec] = now
	return now, nil
}

// read asks a registry, as pods of builds would.
func (c *Controller) read(ctx context.Context, s buildconfig.Settings, ask func(context.Context, registry.Options) error) error {
	a, problems, err := kube.ReadRegistryAccess(ctx, c.Clients, c.Namespace, s)
	if err != nil {
		return err
	}
	mirrors, found, err := kube.ReadMirrors(ctx, c.Clients, c.Namespace)
	if err != nil {
		return err
	}
	if problems = append(problems, found...); len(problems) > 0 {
		return errors.New(problems.String())
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := ask(ctx, registry.Options{
		Credentials: a.PullCredentials, CAs: a.Authorities, Mirrors: mirrors, Proxy: a.Proxy, Retry: registry.Retry{Tries: 1},
	}); err != nil {
		return errors.New(redact.New(a.Secrets()...).Text(err.Error()))
	}
	return nil
}

// ask asks for a rebuild, unless that was asked for.
func (c *Controller) ask(ctx context.Context, name string, on *base, digest string) error {
	pool, err := kube.ReadPool(ctx, c.Clients, c.Informers, name, true)
	if pool == nil || err != nil {
		return err
	}
	token := on.token(digest)
	if !polled(pool) || pool.Spec.Configuration.Name != on.config || pool.Annotations[api.AnnotationNewestImage] != on.image || pool.Annotations[api.AnnotationRebuild] == token {
		return nil
	}
	klog.FromContext(ctx).Info("The base image has moved, asking for a rebuild", "digest", digest)
	_, err = kube.AnnotatePool(ctx, c.Clients.MachineConfig, pool, map[string]string{api.AnnotationRebuild: token})
	return err
}
