package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/chosen"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/openshiftbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/pod"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/basepoll"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/poolstatus"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/render"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/retention"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

// loop is a controller; Run works until the context ends and all is finished.
type loop interface{ Run(ctx context.Context) }

// surroundings are what loops are made of. The informers do not run yet.
type surroundings struct {
	options   options
	clients   kube.Clients
	informers *kube.Informers
	recorder  record.EventRecorder
	measures  prometheus.Registerer
}

// controllers are all loops, by the names that --controllers takes.
var controllers = []struct {
	name string
	make func(surroundings) (loop, error)
}{
	{osbuild.Name, newBuilder},
	{retention.Name, newKeeper},
	{basepoll.Name, newBasePoll},
	{render.Name, newRenderer},
	{poolstatus.Name, newPoolStatus},
}

// defaultControllers leave to OpenShift's machine-config-controller what it does.
var defaultControllers = []string{osbuild.Name, retention.Name, basepoll.Name}

func controllerNames() []string {
	var names []string
	for _, c := range controllers {
		names = append(names, c.name)
	}
	return names
}

func newBuilder(s surroundings) (loop, error) {
	runs := chosen.New(map[string]backend.Backend{
		api.BuilderCustomPod: pod.New(s.clients.Core, s.informers, s.options.namespace),
		api.BuilderOpenShift: openshiftbuild.New(s.clients, s.informers, s.options.namespace),
	})
	builder, err := osbuild.New(osbuild.Options{
		Clients: s.clients, Informers: s.informers, Namespace: s.options.namespace, BuilderImage: s.options.builderImage,
		Backend: runs, Recorder: s.recorder, Metrics: metrics.NewBuilds(s.measures), Clock: clock.RealClock{},
	})
	return measured{builder, s.measures, metrics.NewPools(s.informers.PoolLister, runs.Active)}, err
}

// measured is a loop with metrics that are read from the informers, and so are
// wrong until those are filled.
type measured struct {
	loop
	measures prometheus.Registerer
	metrics  prometheus.Collector
}

func (m measured) Run(ctx context.Context) {
	m.measures.MustRegister(m.metrics)
	m.loop.Run(ctx)
}

func newKeeper(s surroundings) (loop, error) {
	return retention.New(retention.Options{
		Clients: s.clients, Informers: s.informers, Namespace: s.options.namespace,
		Recorder: s.recorder, Metrics: metrics.NewImages(s.measures), Clock: clock.RealClock{},
	})
}

func newBasePoll(s surroundings) (loop, error) {
	return basepoll.New(basepoll.Options{Clients: s.clients, Informers: s.informers, Namespace: s.options.namespace, Clock: clock.RealClock{}})
}

func newRenderer(s surroundings) (loop, error) {
	s.informers.WatchNodes()
	convert, err := converter()
	if err != nil {
		return nil, err
	}
	return render.New(render.Options{
		Clients: s.clients, Informers: s.informers, Version: version.Version, Convert: convert, Recorder: s.recorder, Clock: clock.RealClock{},
	})
}

func newPoolStatus(s surroundings) (loop, error) {
	s.informers.WatchNodes()
	return poolstatus.New(poolstatus.Options{Clients: s.clients, Informers: s.informers, Clock: clock.RealClock{}})
}
