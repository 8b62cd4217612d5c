package integration

import (
	"fmt"
	"strings"
	"time"
)

// report tells of the pools that failed, and tries to make the first smaller.
func (m *model) report(seed uint64, failed []*subject) {
	m.t.Helper()
	first := failed[0]
	const most = 10
	var names []string
	for _, p := range failed[:min(most, len(failed))] {
		names = append(names, fmt.Sprintf("%s: %s", p.name, strings.Join(first.monitor.broken[p.name], "; ")))
	}
	m.t.Errorf("replay with %s=%d; %d pools failed:\n%s", modelSeedVariable, seed, len(failed), strings.Join(names, "\n"))
	m.t.Errorf("sequence of %s:\n%v\nits story:\n%s", first.name, first.sequence, first.monitor.story(first.name))
	if smaller, ok := m.shrink(seed, first.sequence); ok {
		m.t.Errorf("a smaller sequence that fails:\n%v\nits story:\n%s", smaller.sequence, smaller.monitor.story(smaller.name))
	}
}

// shrink leaves out what a failure does not need, for as long as is reasonable.
func (m *model) shrink(seed uint64, s sequence) (*subject, bool) {
	const copies, patience = 20, 3 * time.Minute
	var smallest *subject
	deadline := time.Now().Add(patience)
	fails := func(s sequence) *subject {
		all := make([]sequence, copies)
		for i := range all {
			all[i] = s
		}
		if failed := m.batch(seed, all).run(); len(failed) > 0 {
			return failed[0]
		}
		return nil
	}
	if smallest = fails(s); smallest == nil {
		m.t.Log("it does not fail again by itself")
		return nil, false
	}
	for i := 0; time.Now().Before(deadline); {
		candidate, ok := smallest.without(i)
		if !ok {
			break
		}
		if p := fails(candidate); p != nil {
			smallest = p
			continue
		}
		i++
	}
	return smallest, true
}
