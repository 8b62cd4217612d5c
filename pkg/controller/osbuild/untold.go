package osbuild

import (
	"slices"
	"sync"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// untold keeps what a round did not tell of a pool, for want of the answer to a
// write: one that was done all the same shows the next round nothing new.
type untold struct {
	mu    sync.Mutex
	pools map[string]missed
}

type missed struct {
	// conditions are those before the write that may have been done.
	conditions []mcfgv1.MachineConfigPoolCondition
	written    bool
	// start is of the run that may have been started.
	start *osbuild.StartBuild
}

func (u *untold) change(pool string, change func(*missed)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	m := u.pools[pool]
	change(&m)
	if m.start == nil && !m.written {
		delete(u.pools, pool)
		return
	}
	if u.pools == nil {
		u.pools = map[string]missed{}
	}
	u.pools[pool] = m
}

// wrote is called after a write without answer replaced these conditions, or not.
func (u *untold) wrote(pool string, before []mcfgv1.MachineConfigPoolCondition) {
	u.change(pool, func(m *missed) {
		if !m.written {
			m.conditions, m.written = before, true
		}
	})
}

// starting is called after a start without answer.
func (u *untold) starting(pool string, start osbuild.StartBuild) {
	u.change(pool, func(m *missed) { m.start = &start })
}

// since returns the conditions that were told of last, which are before unless
// something was missed.
func (u *untold) since(pool string, before []mcfgv1.MachineConfigPoolCondition) []mcfgv1.MachineConfigPoolCondition {
	u.change(pool, func(m *missed) {
		if m.written {
			before = m.conditions
		}
		m.conditions, m.written = nil, false
	})
	return before
}

// started adds to what was done the start that turns out to have been done, too.
func (u *untold) started(pool string, builds []backend.Observation, done []osbuild.Action) []osbuild.Action {
	again := slices.ContainsFunc(done, func(a osbuild.Action) bool { _, starts := a.(osbuild.StartBuild); return starts })
	u.change(pool, func(m *missed) {
		if m.start == nil {
			return
		}
		seen := slices.ContainsFunc(builds, func(b backend.Observation) bool {
			return b.Phase != backend.PhaseNone && b.Object == m.start.Request.Object && b.Attempt == m.start.Request.Attempt
		})
		if seen && !again {
			done = append([]osbuild.Action{*m.start}, done...)
		}
		if seen || again {
			m.start = nil
		}
	})
	return done
}

func (u *untold) forget(pool string) { u.change(pool, func(m *missed) { *m = missed{} }) }
