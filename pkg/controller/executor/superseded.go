package executor

import (
	"slices"
	"sync"
)

// superseded are the versions of Builds that the loop's own writes took the place of. A
// decision about one of them, from a cache that is behind, would be refused.
type superseded struct {
	mu       sync.Mutex
	versions map[string][]string
}

// wrote takes note of a write. One that changes nothing leaves the version as it is, and
// no event follows it.
func (s *superseded) wrote(key, before, after string) {
	if before == after {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.versions == nil {
		s.versions = map[string][]string{}
	}
	s.versions[key] = append(s.versions[key], before)
}

// has says whether the event of a later version is still to come. Once the cache has
// one, those before it are forgotten.
func (s *superseded) has(key, version string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.versions[key], version) {
		return true
	}
	delete(s.versions, key)
	return false
}

func (s *superseded) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.versions, key)
}
