package retention

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// cacheDeletions are those of a pool's build cache.
func cacheDeletions(pool, uid string) []string {
	var all []string
	for _, architecture := range buildconfig.Architectures {
		all = append(all, "DELETE "+repository+":"+names.BuildCacheTag(names.BuildCacheID(pool, uid), architecture))
	}
	return all
}

func optOut(c *cluster) {
	c.changePool("worker", func(p *mcfgv1.MachineConfigPool) { p.Labels = nil })
}

func (c *cluster) cacheSetting(value string) {
	gvr := corev1.SchemeGroupVersion.WithResource("configmaps")
	c.must(c.core.Tracker().Update(gvr, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.ConfigMapBuildConfig}, Data: map[string]string{api.KeyFinalImagePullspec: repository, api.KeyBuildCache: value},
	}, namespace))
}

// TestBuildCacheGoesWithItsPool, once its last build had the time to end.
func TestBuildCacheGoesWithItsPool(t *testing.T) {
	for name, row := range map[string]struct {
		before, change func(*cluster)
		want           []string
	}{
		"nothing happens": {change: func(*cluster) {}},
		"it opts out":     {change: optOut, want: cacheDeletions("worker", "uid-of-worker")},
		"it is deleted": {
			change: func(c *cluster) {
				c.must(c.mc.Tracker().Delete(mcfgv1.GroupVersion.WithResource("machineconfigpools"), "", "worker"))
			},
			want: cacheDeletions("worker", "uid-of-worker"),
		},
		"it is made anew": {
			change: func(c *cluster) {
				c.changePool("worker", func(p *mcfgv1.MachineConfigPool) { p.UID = "another"; p.Labels["made"] = "anew" })
			},
			want: cacheDeletions("worker", "uid-of-worker"),
		},
		"the setting is another":           {change: func(c *cluster) { c.cacheSetting(api.BuildCacheNone) }, want: cacheDeletions("worker", "uid-of-worker")},
		"it opted out while nobody looked": {before: optOut, change: func(*cluster) {}, want: cacheDeletions("worker", "uid-of-worker")},
		"it never had one":                 {before: func(c *cluster) { optOut(c); c.cacheSetting(api.BuildCacheNone) }, change: func(*cluster) {}},
		"it opts in again": {change: func(c *cluster) {
			optOut(c)
			c.changePool("worker", func(p *mcfgv1.MachineConfigPool) { p.Labels = map[string]string{api.LabelLayeringEnabled: ""} })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "a")
			c.cacheSetting(api.BuildCacheRegistry)
			if row.before != nil {
				row.before(c)
			}
			r := c.start()
			r.cacheRound(t)
			row.change(c)
			after := r.cacheRound(t)
			if took := c.took(); len(took) > 0 || (after > 0) != (row.want != nil) || after > cacheGrace {
				t.Errorf("at once: %v; it looks again after %v", took, after)
			}
			c.clock.Step(cacheGrace)
			r.cacheRound(t)
			if took := c.took(); !slices.Equal(took, row.want) {
				t.Errorf("deleted:\n%v\nwant:\n%v", took, row.want)
			}
			if r.cacheRound(t); len(c.took()) > 0 {
				t.Error("it is deleted once more")
			}
		})
	}
}

// cacheRound syncs the pool once from caches that show everything.
func (r *rig) cacheRound(t *testing.T) time.Duration {
	t.Helper()
	r.settled(t)
	after, err := r.syncCache(t.Context(), "worker")
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// settled waits until the caches show the pool and the setting.
func (r *rig) settled(t *testing.T) {
	t.Helper()
	c := r.cluster
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		setting, err := c.core.Tracker().Get(corev1.SchemeGroupVersion.WithResource("configmaps"), namespace, api.ConfigMapBuildConfig)
		if err != nil {
			return false, err
		}
		if m, ok := setting.(*corev1.ConfigMap); !ok || !reflect.DeepEqual(m.Data, r.Informers.Setting(api.ConfigMapBuildConfig).Data) {
			return false, nil
		}
		pool, err := c.mc.Tracker().Get(mcfgv1.GroupVersion.WithResource("machineconfigpools"), "", "worker")
		cached, cachedErr := r.Informers.PoolLister.Get("worker")
		if err != nil || cachedErr != nil {
			return err != nil && cachedErr != nil, nil //nolint:nilerr // it is gone
		}
		have, ok := pool.(*mcfgv1.MachineConfigPool)
		return ok && have.UID == cached.UID && reflect.DeepEqual(have.Labels, cached.Labels), nil
	})
	if err != nil {
		t.Fatalf("the caches do not show what there is: %v", err)
	}
}

// TestBuildCacheIsDeletedInTheEnd, unless the registry forbids it.
func TestBuildCacheIsDeletedInTheEnd(t *testing.T) {
	c := newCluster(t, "a")
	c.cacheSetting(api.BuildCacheRegistry)
	optOut(c)
	r := c.start()
	r.cacheRound(t)
	c.clock.Step(cacheGrace)
	c.registry = func(string) error { return failure(registry.ErrUnavailable, 503) }
	if _, err := r.syncCache(t.Context(), "worker"); err == nil {
		t.Error("a registry that does not answer is no error")
	}
	c.registry = func(string) error { return failure(registry.ErrNotFound, 404) }
	c.took()
	if r.cacheRound(t); !slices.Equal(c.took(), cacheDeletions("worker", "uid-of-worker")) {
		t.Error("it was not tried again")
	}
	c.cacheSetting(api.BuildCacheNone)
	r.cacheRound(t)
	c.changePool("worker", func(p *mcfgv1.MachineConfigPool) { p.Labels = map[string]string{api.LabelLayeringEnabled: ""} })
	c.cacheSetting(api.BuildCacheRegistry)
	r.cacheRound(t)
	optOut(c)
	r.cacheRound(t)
	c.clock.Step(cacheGrace)
	c.registry = func(string) error { return failure(registry.ErrUnsupported, 405) }
	r.cacheRound(t)
	if took := c.took(); len(took) != 1 {
		t.Errorf("a registry that forbids deletions was asked %d times: %s", len(took), fmt.Sprint(took))
	}
}
