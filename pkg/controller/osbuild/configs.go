package osbuild

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgclient "github.com/openshift/client-go/machineconfiguration/clientset/versioned"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// configCache remembers what the decisions need of rendered configs, so that
// their content, up to a megabyte each, is read once and never kept.
type configCache struct {
	client mcfgclient.Interface
	lister cache.GenericLister
	// judging is held while a config is validated, which takes many times its size for
	// a moment.
	judging sync.Mutex
	mu      sync.Mutex
	known   map[string]knownConfig
}

type knownConfig struct {
	version string // resourceVersion
	config  *osbuild.RenderedConfig
}

// get returns nil for a config that does not exist. What records tell of it
// spares reading it.
func (c *configCache) get(ctx context.Context, name string, records []osbuild.Record) (*osbuild.RenderedConfig, error) {
	if name == "" {
		return nil, nil
	}
	obj, err := c.lister.Get(name)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking up MachineConfig %q: %w", name, err)
	}
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("looking up MachineConfig %q: %w", name, err)
	}
	c.mu.Lock()
	known, ok := c.known[name]
	c.mu.Unlock()
	if ok && known.version == m.GetResourceVersion() {
		return known.config, nil
	}
	for _, r := range records {
		if r.RenderedConfig == name && r.Config.Of(m) {
			config := r.Config
			config.Name = name
			c.remember(name, knownConfig{version: m.GetResourceVersion(), config: &config})
			return &config, nil
		}
	}
	mc, err := c.read(ctx, name)
	if mc == nil || err != nil {
		return nil, err
	}
	return c.learn(mc)
}

// learn remembers what the decisions need of a config.
func (c *configCache) learn(mc *mcfgv1.MachineConfig) (*osbuild.RenderedConfig, error) {
	c.judging.Lock()
	config, err := osbuild.Summarize(mc)
	c.judging.Unlock()
	if err != nil {
		return nil, err
	}
	c.remember(mc.Name, knownConfig{version: mc.ResourceVersion, config: config})
	return config, nil
}

// read gets a whole config from the API server; nil when it does not exist.
func (c *configCache) read(ctx context.Context, name string) (*mcfgv1.MachineConfig, error) {
	mc, err := c.client.MachineconfigurationV1().MachineConfigs().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading MachineConfig %q: %w", name, err)
	}
	return mc, nil
}

func (c *configCache) remember(name string, known knownConfig) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]knownConfig{}
	}
	c.known[name] = known
}

// forget drops a config that was deleted.
func (c *configCache) forget(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, name)
}

// document is the JSON of a MachineConfig as it goes into a build: without
// what the API server adds, so that the same config gives the same bytes.
func document(mc *mcfgv1.MachineConfig) ([]byte, error) {
	bare := mcfgv1.MachineConfig{
		TypeMeta:   metav1.TypeMeta{APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfig"},
		ObjectMeta: metav1.ObjectMeta{Name: mc.Name},
		Spec:       mc.Spec,
	}
	data, err := json.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("encoding MachineConfig %q: %w", mc.Name, err)
	}
	return data, nil
}
