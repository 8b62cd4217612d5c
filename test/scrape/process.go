package main

import (
	"context"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"

	"github.com/machine-os-builder/machine-os-builder/pkg/controller/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
)

const component = "machine-os-builder"

// process is the controller from its start to its end, with metrics of its own,
// those of client-go aside.
type process struct {
	server  *httptest.Server
	clients kube.Clients
	// freeze ends the loop and nothing else; kill ends all.
	freeze, kill func()
}

// start starts the controller, as a leader or as one that waits for the lease.
func (w *world) start(leads bool) error {
	own := prometheus.NewRegistry()
	config, err := w.plane.ServiceAccount(w.ctx, namespace, component)
	if err != nil {
		return err
	}
	config.Wrap(metrics.CountWrites(own))
	clients, err := kube.NewClients(config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(w.ctx)
	var running sync.WaitGroup
	p := &process{
		server: httptest.NewServer(metrics.Handler(prometheus.Gatherers{w.shared, own})), clients: clients,
		freeze: func() {},
	}
	p.kill = func() {
		cancel()
		running.Wait()
		p.server.Close()
	}
	w.process = p
	elector, err := w.elector(clients)
	if err != nil || !leads {
		return err
	}
	running.Go(func() { elector.Run(ctx) })
	informers, err := kube.NewInformers(clients, namespace)
	if err != nil {
		return err
	}
	loop, err := osbuild.New(osbuild.Options{
		Clients: clients, Informers: informers, Backend: w.runs, Namespace: namespace, BuilderImage: "registry.example.com/builder:1",
		Recorder: &record.FakeRecorder{}, Metrics: metrics.NewBuilds(own), Clock: w.clock, Inspect: w.inspect,
	})
	if err != nil {
		return err
	}
	metrics.NewImages(own)
	if err := informers.Start(ctx); err != nil {
		return err
	}
	own.MustRegister(metrics.NewPools(informers.PoolLister, w.runs.Active))
	loopCtx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	p.freeze = func() {
		stop()
		<-ended
	}
	running.Go(func() {
		defer close(ended)
		loop.Run(loopCtx)
	})
	return w.until(`leader_election_master_status{name="machine-os-builder"} 1`)
}

// elector is the program's own, as far as metrics tell of it.
func (w *world) elector(clients kube.Clients) (*leaderelection.LeaderElector, error) {
	return leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: namespace, Name: component}, Client: clients.Core.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: component},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true, Name: component,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
	})
}
