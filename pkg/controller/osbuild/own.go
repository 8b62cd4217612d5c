package osbuild

import (
	"slices"
	"sync"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
)

// ownWrites lets the loop read its own writes of pools before the cache has
// them, and know their events when they come.
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
}

// wrote takes note of a write that turned one version of a pool into the next;
// the write was guarded, so that nothing lies between the two.
func (o *ownWrites) wrote(before string, after *mcfgv1.MachineConfigPool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pools == nil {
		o.pools = map[string]*ownWrite{}
	}
	w := o.pools[after.Name]
	if w == nil {
		w = &ownWrite{}
		o.pools[after.Name] = w
	}
	w.before = append(w.before, before)
	w.version, w.pool = after.ResourceVersion, after
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
	w.pool, w.before = nil, nil
	return cached
}

// made is true for the version that the last write made, and for those before
// it that the cache has not shown yet.
func (o *ownWrites) made(pool *mcfgv1.MachineConfigPool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.pools[pool.Name]
	return w != nil && (w.version == pool.ResourceVersion || slices.Contains(w.before, pool.ResourceVersion))
}

func (o *ownWrites) forget(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.pools, name)
}
