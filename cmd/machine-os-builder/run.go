package main

import (
	"context"
	"slices"
	"sync"

	mcfgscheme "github.com/openshift/client-go/machineconfiguration/clientset/versioned/scheme"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/process"
	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

const component = "machine-os-builder"

// run works until the context ends; running builds go on.
func run(ctx context.Context, o options) error {
	klog.Background().Info("Starting", "version", version.Version, "namespace", o.namespace, "builderImage", o.builderImage)
	return process.Process{
		Options: o.Options, Component: component, LeaseNamespace: o.namespace, Scheme: mcfgscheme.Scheme,
		Work: func(ctx context.Context, s process.Surroundings) error { return runControllers(ctx, o, s) },
	}.Run(ctx)
}

func runControllers(ctx context.Context, o options, s process.Surroundings) error {
	informers, err := kube.NewInformers(s.Clients, o.namespace)
	if err != nil {
		return err
	}
	var loops []loop
	for _, c := range controllers {
		if !slices.Contains(o.controllers, c.name) {
			continue
		}
		l, err := c.make(surroundings{options: o, clients: s.Clients, informers: informers, recorder: s.Recorder, measures: s.Measures})
		if err != nil {
			return err
		}
		loops = append(loops, l)
	}
	if err := informers.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	var running sync.WaitGroup
	for _, l := range loops {
		running.Go(func() { l.Run(ctx) })
	}
	running.Wait()
	return nil
}
