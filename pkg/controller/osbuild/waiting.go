package osbuild

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// accessWait are the pools that wait for something to be mended that no watch tells
// of. It is the same for all of them: one looks often, and wakes the others.
type accessWait struct {
	mu    sync.Mutex
	pools map[string]bool
	looks string
}

// wrong takes a pool in, and returns when it is to look again.
func (a *accessWait) wrong(pool string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pools == nil {
		a.pools = map[string]bool{}
	}
	a.pools[pool] = true
	if a.looks == "" {
		a.looks = pool
	}
	if a.looks == pool {
		return accessPoll
	}
	return refusedPoll
}

// right lets all go, and returns them.
func (a *accessWait) right() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	pools := slices.Sorted(maps.Keys(a.pools))
	a.pools, a.looks = nil, ""
	return pools
}

// leave lets a pool go that no longer waits, and returns the one that is to look in
// its place; empty for none.
func (a *accessWait) leave(pool string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.pools, pool)
	if a.looks != pool {
		return ""
	}
	a.looks = ""
	for next := range a.pools {
		a.looks = next
		break
	}
	return a.looks
}
