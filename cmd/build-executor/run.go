package main

import (
	"context"

	buildscheme "github.com/openshift/client-go/build/clientset/versioned/scheme"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/executor"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/process"
	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

const component = "build-executor"

// run works until the context ends; pods that run go on.
func run(ctx context.Context, o options) error {
	klog.Background().Info("Starting", "version", version.Version, "namespace", o.namespace, "builderImage", o.builderImage, "gitImage", o.gitImage)
	return process.Process{
		Options: o.Options, Component: component, LeaseNamespace: o.leaseNamespace, Scheme: buildscheme.Scheme,
		Check: kube.CheckBuilds,
		Work:  func(ctx context.Context, s process.Surroundings) error { return work(ctx, o, s) },
	}.Run(ctx)
}

func work(ctx context.Context, o options, s process.Surroundings) error {
	informers := kube.NewBuildInformers(s.Clients, o.namespace)
	loop, err := executor.New(executor.Options{
		Clients: s.Clients, Informers: informers, Recorder: s.Recorder, Clock: clock.RealClock{},
		Pod: buildpod.BuildOptions{BuilderImage: o.builderImage, GitImage: o.gitImage, ProxySecret: o.proxySecret, AllowedUIDs: o.allowedUIDs},
	})
	if err != nil {
		return err
	}
	if err := informers.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	s.Measures.MustRegister(metrics.NewExecutor(informers.BuildLister))
	loop.Run(ctx)
	return nil
}
