package osbuild

import (
	"slices"
	"sync"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
)

// ownWrites lets the loop read its own writes of pools before the cache has
// them, and know their events when they come, even before the answer of the
// write that they tell of.
type ownWrites struct {
	mu    sync.Mutex
	pools map[string]*ownWrite
}

type ownWrite struct {
	// version is the resourceVersion of the last write.
	version string
	// pool is what it returned, until the cache has it.
	pool *mcfgv1.MachineConfigPool
	// before are the resourceVersions that it superseded since.
	before []string
	// writing is true from before a write until its answer; early are the
	// versions whose events came in between.
	writing bool
	early   []string
}

// write does a guarded write, which turns one version of a pool into the next
// with nothing in between. missed is true when an event that came meanwhile
// tells of something else.
func (o *ownWrites) write(pool *mcfgv1.MachineConfigPool, do func() (*mcfgv1.MachineConfigPool, error)) (after *mcfgv1.MachineConfigPool, missed bool, err error) {
	w := o.begin(pool.Name)
	after, err = do()
	o.mu.Lock()
	defer o.mu.Unlock()
	w.writing = false
	if err == nil {
		w.version, w.pool, w.before = after.ResourceVersion, after, append(w.before, pool.ResourceVersion)
	}
	missed = slices.ContainsFunc(w.early, func(version string) bool { return !w.knows(version) })
	if err == nil && slices.Contains(w.early, w.version) {
		w.cached()
	}
	w.early = nil
	return after, missed, err
}

func (o *ownWrites) begin(name string) *ownWrite {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pools == nil {
		o.pools = map[string]*ownWrite{}
	}
	w := o.pools[name]
	if w == nil {
		w = &ownWrite{}
		o.pools[name] = w
	}
	w.writing = true
	return w
}

// cached lets go of the pool: the cache has the last write, or a later one.
func (w *ownWrite) cached() { w.pool, w.before = nil, nil }

// knows is true for the version that the last write made, and for those before
// it that the cache has not shown yet.
func (w *ownWrite) knows(version string) bool {
	return w.version == version || slices.Contains(w.before, version)
}

// latest returns the newer of the cached pool and the one last written.
func (o *ownWrites) latest(cached *mcfgv1.MachineConfigPool) *mcfgv1.MachineConfigPool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.pools[cached.Name]
	if w == nil {
		return cached
	}
	if w.pool != nil && slices.Contains(w.before, cached.ResourceVersion) {
		return w.pool
	}
	w.cached()
	return cached
}

// made is true for a version that this loop wrote. For one that comes while a
// write is under way it is true as well: that write answers for it.
func (o *ownWrites) made(pool *mcfgv1.MachineConfigPool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.pools[pool.Name]
	switch {
	case w == nil:
		return false
	case w.writing:
		w.early = append(w.early, pool.ResourceVersion)
		return true
	default:
		if w.version == pool.ResourceVersion {
			w.cached()
		}
		return w.knows(pool.ResourceVersion)
	}
}

func (o *ownWrites) forget(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pools, name)
}
