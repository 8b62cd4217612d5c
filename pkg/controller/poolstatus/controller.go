package poolstatus

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/controller"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/poolstatus"
)

// Name of the loop in logs and metrics.
const Name = "poolstatus"

// Options are what the loop is made of.
type Options struct {
	Clients kube.Clients
	// Informers watch nodes, too.
	Informers *kube.Informers
	Clock     clock.WithTicker
}

// Controller is the loop.
type Controller struct {
	Options
	runner *controller.Runner
}

// New wires the loop to its informers, which must not run yet.
func New(o Options) (*Controller, error) {
	c := &Controller{Options: o}
	c.runner = controller.NewRunner(Name, o.Clock, c.sync)
	return c, errors.Join(
		kube.Listen(c.Informers.Pools, c.poolEvent),
		kube.Listen(c.Informers.Nodes, c.nodeEvent),
	)
}

// Run works until the context ends, then waits for what is under way.
func (c *Controller) Run(ctx context.Context) { c.runner.Run(ctx, 1) }

// poolEvent wakes a pool, and the others too when the nodes may be distributed
// in another way.
func (c *Controller) poolEvent(before, after *mcfgv1.MachineConfigPool) {
	if before != nil && after != nil && reflect.DeepEqual(before.Spec.NodeSelector, after.Spec.NodeSelector) {
		c.runner.Enqueue(after.Name)
		return
	}
	for _, p := range c.Informers.AllPools() {
		c.runner.Enqueue(p.Name)
	}
}

// nodeEvent wakes the pools that a node may belong to, or did.
func (c *Controller) nodeEvent(before, after *corev1.Node) {
	var either []poolstatus.Node
	for _, n := range []*corev1.Node{before, after} {
		if n != nil {
			either = append(either, poolstatus.NodeOf(n))
		}
	}
	if len(either) == 2 && reflect.DeepEqual(either[0], either[1]) {
		return
	}
	for _, p := range c.Informers.AllPools() {
		if poolstatus.Selects(p, either...) {
			c.runner.Enqueue(p.Name)
		}
	}
}

// sync brings one pool's status up to date. What is to be told is found from the
// cache, and written from a live read: the cache has no sources.
func (c *Controller) sync(ctx context.Context, name string) (time.Duration, error) {
	for _, live := range []bool{false, true} {
		pool, err := kube.ReadPool(ctx, c.Clients, c.Informers, name, live)
		if pool == nil || err != nil || pool.DeletionTimestamp != nil {
			return 0, err
		}
		status, err := c.compute(pool)
		if err != nil || reflect.DeepEqual(status, pool.Status) {
			return 0, err
		}
		if !live {
			continue
		}
		if _, err = kube.SetPoolStatus(ctx, c.Clients.MachineConfig, pool, status); err != nil && !apierrors.IsNotFound(err) {
			return 0, err
		}
	}
	return 0, nil
}

// compute finds the pool's nodes, in the light of all pools that could have them,
// and what to tell of them.
func (c *Controller) compute(pool *mcfgv1.MachineConfigPool) (mcfgv1.MachineConfigPoolStatus, error) {
	objects, err := c.Informers.NodeLister.List(labels.Everything())
	if err != nil {
		return mcfgv1.MachineConfigPoolStatus{}, fmt.Errorf("listing nodes: %w", err)
	}
	var nodes []poolstatus.Node
	for _, n := range objects {
		if node := poolstatus.NodeOf(n); poolstatus.Selects(pool, node) {
			nodes = append(nodes, node)
		}
	}
	// With no node to share it is nobody's business but the pool's.
	all := []*mcfgv1.MachineConfigPool{pool}
	if len(nodes) > 0 {
		all = c.Informers.AllPools()
	}
	members := poolstatus.Assign(all, nodes)[pool.Name]
	return poolstatus.Compute(pool, members, c.Clock.Now()), nil
}
