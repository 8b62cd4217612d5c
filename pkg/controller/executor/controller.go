package executor

import (
	"cmp"
	"context"
	"errors"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
)

// Name of the loop in logs and metrics.
const Name = "executor"

// workers look at different Builds at the same time: most of a look is waiting for the
// API server.
const workers = 8

// Options are what the loop is made of.
type Options struct {
	Clients   kube.Clients
	Informers *kube.BuildInformers
	// Pod is what pods are made of besides their Builds; whether there are mirrors is
	// found out for each.
	Pod      buildpod.BuildOptions
	Recorder record.EventRecorder
	Clock    clock.WithTicker
}

// Controller is the loop.
type Controller struct {
	Options
	runner     *controller.Runner
	superseded superseded
}

// New wires the loop to its informers, which must not run yet.
func New(o Options) (*Controller, error) {
	c := &Controller{Options: o}
	c.runner = controller.NewRunner(Name, o.Clock, c.sync)
	return c, errors.Join(
		kube.Listen(o.Informers.Builds, func(before, after *buildv1.Build) {
			b := cmp.Or(after, before)
			c.enqueue(b.Namespace, b.Name)
		}),
		kube.Listen(o.Informers.Pods, func(before, after *corev1.Pod) {
			// The label may be cut.
			if p := cmp.Or(after, before); p.Annotations[buildv1.BuildAnnotation] != "" {
				c.enqueue(p.Namespace, p.Annotations[buildv1.BuildAnnotation])
			}
		}),
	)
}

func (c *Controller) enqueue(namespace, name string) {
	c.runner.Enqueue(cache.NewObjectName(namespace, name).String())
}

// Run works until the context ends, then waits for the syncs that are under way.
func (c *Controller) Run(ctx context.Context) { c.runner.Run(ctx, workers) }
