package integration

import (
	"net/http"
	"sync"
)

// counter counts the writes of the controller.
type counter struct {
	next   http.RoundTripper
	mu     sync.Mutex
	writes []string
	// last is how many writes get through; 0 for all.
	last int
}

func (c *counter) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method == http.MethodGet {
		return c.next.RoundTrip(r)
	}
	c.mu.Lock()
	dead := c.last > 0 && len(c.writes) >= c.last
	if !dead {
		c.writes = append(c.writes, r.Method+" "+r.URL.Path)
	}
	c.mu.Unlock()
	if dead {
		return nil, errKilled
	}
	return c.next.RoundTrip(r)
}

// Writes returns what was written since the last call.
func (c *counter) Writes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writes
	c.writes = nil
	return w
}

// Count is how many writes there were since the last call of Writes.
func (c *counter) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.writes)
}
