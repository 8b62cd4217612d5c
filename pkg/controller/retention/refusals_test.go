package retention

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// asked is how often the registry was asked since took was called.
func (c *cluster) asked() int {
	return len(slices.DeleteFunc(c.took(), func(e string) bool { return !strings.HasPrefix(e, "DELETE") }))
}

func forbids(string) error { return failure(registry.ErrDenied, 403) }

// TestS31OneWarningForARepository, however many pools and images, and however often
// the registry says it again. After a day no record waits any longer.
func TestS31OneWarningForARepository(t *testing.T) {
	c := newCluster(t, "abcde")
	c.addPool("infra", "fghij")
	c.registry = func(string) error { return failure(registry.ErrUnsupported, 405) }
	r := c.start()
	for _, row := range []struct {
		at      time.Duration
		asks    int
		records string
	}{
		{at: 0, records: "f! g! h i j a! b! c d e"},
		{at: grace, asks: 1, records: "f! g! h i j a! b! c d e"},
		{at: grace + time.Minute, records: "f! g! h i j a! b! c d e"},
		{at: grace + time.Hour, asks: 1, records: "f! g! h i j a! b! c d e"},
		{at: grace + 25*time.Hour, asks: 1, records: "h i j c d e"},
	} {
		c.clock.SetTime(begin.Add(row.at))
		r.rest("worker")
		r.rest("infra")
		if asks := c.asked(); asks != row.asks || c.records() != row.records {
			t.Errorf("after %v the registry was asked %d times, want %d; records %s, want %s", row.at, asks, row.asks, c.records(), row.records)
		}
	}
	if told := c.told(); len(told) != 1 || !strings.HasPrefix(told[0], "Warning "+api.EventDeletionForbidden) || !strings.Contains(told[0], repository) {
		t.Errorf("events %q", told)
	}
}

// TestRefusalIsNotForEver: a registry that allows deletions in the end gets all of
// those that it was not asked for, and one that forbids them anew makes another warning.
func TestRefusalIsNotForEver(t *testing.T) {
	for name, row := range map[string]struct {
		meanwhile func(*cluster)
		after     time.Duration
		records   string
		events    int
	}{
		"a moment later":                      {after: time.Minute, records: "a! b! c! d! e f g"},
		"an hour later":                       {after: time.Hour, records: "a! e f g", events: 1},
		"as soon as the settings are changed": {meanwhile: func(c *cluster) { c.cacheSetting(api.BuildCacheRegistry) }, records: "a! e f g"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, "abcdefg")
			c.mark(begin.Add(-grace), "bcd")
			c.registry = forbids
			r := c.start()
			if r.rest("worker"); c.asked() != 1 || len(c.told()) != 1 || c.records() != "a! b! c! d! e f g" {
				t.Fatalf("the registry was not asked once, or nobody was told; records %s", c.records())
			}
			c.registry = func(image string) error {
				if image == imageOf("a") {
					return forbids(image)
				}
				return nil
			}
			if row.meanwhile != nil {
				row.meanwhile(c)
			}
			c.clock.SetTime(begin.Add(row.after))
			r.settled(t)
			if r.rest("worker"); c.records() != row.records {
				t.Errorf("records %s, want %s", c.records(), row.records)
			}
			if told := c.told(); len(told) != row.events {
				t.Errorf("events %q, want %d", told, row.events)
			}
		})
	}
}

// TestRefusalAfterAChange: changed settings are no reason to tell once more what they
// did not mend.
func TestRefusalAfterAChange(t *testing.T) {
	c := newCluster(t, "abcd")
	c.mark(long, "a")
	c.registry = forbids
	r := c.start()
	r.rest("worker")
	c.took()
	c.cacheSetting(api.BuildCacheRegistry)
	r.settled(t)
	r.rest("worker")
	if told, asked := c.told(), c.asked(); len(told) != 1 || asked != 1 {
		t.Errorf("events %q; asked again: %d times", told, asked)
	}
}

// TestDayOfHopeOutlastsAFault: a record that cannot be written does not begin it again.
func TestDayOfHopeOutlastsAFault(t *testing.T) {
	c := newCluster(t, "abcd")
	c.mark(long, "a")
	c.registry = forbids
	r := c.start()
	r.rest("worker")
	c.clock.SetTime(begin.Add(hope + time.Hour))
	c.fail[drops("a")] = errServer
	var err error
	for range 5 {
		if _, again := r.round("worker"); again != nil {
			err = again
		}
	}
	if err == nil {
		t.Fatal("the record was written")
	}
	delete(c.fail, drops("a"))
	r.rest("worker")
	if strings.Contains(c.records(), "a") {
		t.Errorf("records %s, want none of a", c.records())
	}
}
