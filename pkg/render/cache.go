package render

import (
	"sync"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

// Cache keeps MachineConfigs that were read, so that pools that share one read
// it once, and a caller that holds only the metadata of MachineConfigs knows
// which it has to fetch. A MachineConfig is known by its UID and
// resourceVersion. It may be used by several goroutines.
type Cache struct {
	// Convert is for configs of Ignition's spec 2.
	Convert ignition.Converter

	mu      sync.Mutex
	sources map[types.UID]cached
}

type cached struct {
	version string
	source  *Source
}

// Find returns what was read of a MachineConfig as it is now, by its metadata;
// nil when it has to be read.
func (c *Cache) Find(mc metav1.Object) *Source {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found, ok := c.sources[mc.GetUID()]; ok && found.version == mc.GetResourceVersion() {
		return found.source
	}
	return nil
}

// Read returns what Find has or else reads the MachineConfig and keeps that,
// unless it has no UID or no resourceVersion to know it by. Errors:
// ignition.ErrNoConverter, wrapped.
func (c *Cache) Read(mc *mcfgv1.MachineConfig) (*Source, error) {
	if found := c.Find(mc); found != nil {
		return found, nil
	}
	source, err := readSource(mc, c.Convert)
	if err != nil || mc.UID == "" || mc.ResourceVersion == "" {
		return source, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sources == nil {
		c.sources = map[types.UID]cached{}
	}
	c.sources[mc.UID] = cached{mc.ResourceVersion, source}
	return source, nil
}

// Keep forgets all MachineConfigs but these.
func Keep[T metav1.Object](c *Cache, configs []T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	live := make(map[types.UID]bool, len(configs))
	for _, mc := range configs {
		live[mc.GetUID()] = true
	}
	for uid := range c.sources {
		if !live[uid] {
			delete(c.sources, uid)
		}
	}
}
