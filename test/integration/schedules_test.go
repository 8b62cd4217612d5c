package integration

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// stories are what happens to a pool, how its pods go, and how many there are
// in the end, whatever fails in between.
var stories = []struct {
	name    string
	steps   []step
	scripts []kubelet.Script
	builds  int
}{
	{"a plain build", nil, nil, 1},
	{"a build that fails once", nil, []kubelet.Script{{Outcome: kubelet.Fail, Running: time.Millisecond}}, 2},
	{"another config during a build", []step{{when: whenRunning, op: opTarget, arg: "b"}}, []kubelet.Script{{Outcome: kubelet.Hang}}, 2},
	{"opting out during a build", []step{{when: whenRunning, op: opUnlabel}}, []kubelet.Script{{Outcome: kubelet.Hang}}, 1},
	{"a rebuild", []step{{when: whenDone, op: opRebuild, arg: "again"}}, nil, 2},
	{"opting out and in", []step{{when: whenDone, op: opUnlabel}, {when: whenDone, op: opLabel}}, nil, 1},
}

// row is a story in which something may go wrong.
type row struct {
	name   string
	builds int
	sequence
}

// schedules are stories in which a write fails, each fault at each write.
func (m *model) schedules(faults []string) []row {
	m.t.Helper()
	whole := make([]row, len(stories))
	for i, s := range stories {
		whole[i] = row{s.name, s.builds, sequence{steps: append([]step{{op: opCreate, arg: "in"}}, s.steps...), scripts: s.scripts}}
	}
	var out []row
	for i, p := range m.play(whole).pools {
		// Conflicts and retries add writes.
		for k := 1; k <= p.writes+2; k++ {
			for _, fault := range faults {
				r := whole[i]
				r.name = fmt.Sprintf("%s: %s at write %d", r.name, fault, k)
				r.writeFaults = map[int]string{k: fault}
				out = append(out, r)
			}
		}
	}
	return out
}

// TestS15EveryWriteFailsOnce lets each write of each story fail in each way that
// an API server has. The rows run side by side.
func TestS15EveryWriteFailsOnce(t *testing.T) {
	m := newModel(t)
	const side = 100
	rows, met := m.schedules(faultNames), 0
	for part := range slices.Chunk(rows, side) {
		met += m.play(part).met()
	}
	t.Logf("FIGURE %d schedules of a failing write, %d of them met it", len(rows), met)
}

// TestS16KilledAfterEveryWrite kills the controller right after each write of
// each story, and starts another.
func TestS16KilledAfterEveryWrite(t *testing.T) {
	m := newModel(t)
	byWrite := map[int][]row{}
	for _, r := range m.schedules([]string{fate}) {
		for k := range r.writeFaults {
			byWrite[k] = append(byWrite[k], r)
		}
	}
	met := 0
	for _, rows := range byWrite {
		met += m.play(rows).met()
	}
	t.Logf("FIGURE %d kills after a write", met)
}

// play runs rows side by side in a world without weather. Each comes to the
// same end as if nothing had gone wrong, with as many builds.
func (m *model) play(rows []row) *batch {
	m.t.Helper()
	sequences := make([]sequence, len(rows))
	for i, r := range rows {
		sequences[i] = r.sequence
	}
	b := m.batch(0, sequences)
	b.still, b.monitor.limit = true, len(rows)
	b.run()
	for i, p := range b.pools {
		if n := b.monitor.made(p.name); n != rows[i].builds {
			b.monitor.violate(p.name, "%d builds, want %d", n, rows[i].builds)
		}
		if broken := b.monitor.broken[p.name]; len(broken) > 0 {
			m.t.Errorf("%s: %v\n%s", rows[i].name, broken, b.monitor.story(p.name))
		}
	}
	return b
}

// met counts the pools that met a fault.
func (b *batch) met() int {
	n := 0
	for _, p := range b.pools {
		if p.met {
			n++
		}
	}
	return n
}
