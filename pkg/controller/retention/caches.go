package retention

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// cacheGrace is how long a pool has to be without a build cache until that is
// deleted: a build that is being stopped may still write it.
const cacheGrace = time.Minute

// buildCache is that of one pool: its tags follow from its id.
type buildCache struct{ id, repository string }

// leaving is one that nobody uses since.
type leaving struct {
	buildCache
	since time.Time
}

// caches are the build caches that this process knows of, by pool. A pool that is
// deleted while no controller runs leaves its own behind. They are the worker's own.
type caches struct {
	used    map[string]buildCache
	seen    map[string]bool
	leaving map[string][]leaving
}

func newCaches() caches {
	return caches{used: map[string]buildCache{}, seen: map[string]bool{}, leaving: map[string][]leaving{}}
}

// syncCache deletes the build cache of a pool that has none any more: the pool is
// gone or not opted in, or the setting is another.
func (c *Controller) syncCache(ctx context.Context, name string) (time.Duration, error) {
	settings, problems := buildconfig.Read(c.Informers.Setting(api.ConfigMapBuildConfig), c.Informers.Setting(api.ConfigMapOSImageURL))
	if len(problems) > 0 {
		return 0, nil // a setting's event wakes all pools
	}
	pool, err := kube.ReadPool(ctx, c.Clients, c.Informers, name, false)
	if err != nil {
		return 0, err
	}
	var want buildCache
	if pool != nil && settings.BuildCache == api.BuildCacheRegistry {
		own := buildCache{names.BuildCacheID(name, string(pool.UID)), settings.Repository}
		if mcp.OptedIn(pool) {
			want = own
		} else if !c.caches.seen[name] {
			c.caches.used[name] = own // from before this process
		}
	}
	c.caches.turn(name, want, c.Clock.Now())
	if pool == nil {
		delete(c.caches.seen, name)
	}
	return c.deleteCaches(ctx, name, settings)
}

// turn notes which build cache a pool uses; zero for none.
func (k *caches) turn(pool string, want buildCache, now time.Time) {
	k.seen[pool] = true
	if was := k.used[pool]; was != want && was != (buildCache{}) {
		k.leaving[pool] = append(k.leaving[pool], leaving{was, now})
	}
	k.used[pool] = want
	if want == (buildCache{}) {
		delete(k.used, pool)
	}
	var left []leaving
	for _, l := range k.leaving[pool] {
		if l.buildCache != want {
			left = append(left, l)
		}
	}
	k.leaving[pool] = left
}

// deleteCaches deletes those whose time has come, and says when that of the next does.
func (c *Controller) deleteCaches(ctx context.Context, pool string, settings buildconfig.Settings) (time.Duration, error) {
	for len(c.caches.leaving[pool]) > 0 {
		next := c.caches.leaving[pool][0]
		if wait := next.since.Add(cacheGrace).Sub(c.Clock.Now()); wait > 0 {
			return wait, nil
		}
		if c.builds(pool) {
			return cacheGrace, nil // it may use the cache, and write it at its end
		}
		if err := c.deleteCache(ctx, next.buildCache, settings); err != nil {
			return 0, fmt.Errorf("deleting the build cache of pool %q: %w", pool, err)
		}
		c.caches.leaving[pool] = c.caches.leaving[pool][1:]
	}
	delete(c.caches.leaving, pool)
	return 0, nil
}

// builds is true while a pod of a pool's build may do something.
func (c *Controller) builds(pool string) bool {
	return slices.ContainsFunc(c.Informers.PodsOf(pool), func(p *corev1.Pod) bool {
		return p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
	})
}

func (c *Controller) deleteCache(ctx context.Context, cache buildCache, settings buildconfig.Settings) error {
	a, problems, err := kube.ReadRegistryAccess(ctx, c.Clients, c.Namespace, settings)
	if err == nil && len(problems) > 0 {
		err = errors.New(problems.String())
	}
	if err != nil {
		return err
	}
	for _, architecture := range buildconfig.Architectures {
		tag := cache.repository + ":" + names.BuildCacheTag(cache.id, architecture)
		limited, cancel := context.WithTimeout(ctx, deletionTimeout)
		err := c.delete(limited, tag, a)
		cancel()
		switch {
		case err == nil:
			klog.FromContext(ctx).Info("Deleted build cache", "image", tag)
		case errors.Is(err, registry.ErrUnsupported), errors.Is(err, registry.ErrDenied):
			klog.FromContext(ctx).Info("The registry forbids deletions; the build cache stays there", "image", tag, "cause", err.Error())
			return nil
		case !errors.Is(err, registry.ErrNotFound):
			return err
		}
	}
	return nil
}
