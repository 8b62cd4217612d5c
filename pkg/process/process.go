package process

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/record"

	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

// eventsRemembered is of how many events, and of how many objects, it is known for
// repetitions what was sent; client-go's own 4096 take megabytes.
const eventsRemembered = 256

// Process is one that works.
type Process struct {
	Options
	// Component is the name of the lease, of the source of events and of the user agent.
	Component string
	// LeaseNamespace is where the lease lies.
	LeaseNamespace string
	// Scheme knows the kinds that events are about.
	Scheme *runtime.Scheme
	// Check is asked once, before anything is served; nil for nothing to check.
	Check func(ctx context.Context, clients kube.Clients) error
	// Work works until the context ends, then finishes what is under way.
	Work func(ctx context.Context, s Surroundings) error
}

// Surroundings are what work is done with.
type Surroundings struct {
	Clients  kube.Clients
	Recorder record.EventRecorder
	Measures prometheus.Registerer
}

// Run serves health and metrics, waits for the lease, and works until the context
// ends. Then it finishes what is under way and gives the lease back.
func (p Process) Run(ctx context.Context) error {
	config, err := kube.Config(p.Kubeconfig, p.Component+"/"+version.Version)
	if err != nil {
		return err
	}
	measures := prometheus.NewRegistry()
	measures.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.RegisterClientGo(measures)
	config.Wrap(metrics.CountWrites(measures))
	clients, err := kube.NewClients(config)
	if err != nil {
		return err
	}
	if p.Check != nil {
		if err := p.Check(ctx, clients); err != nil {
			return err
		}
	}
	return p.serveAndWork(ctx, config, clients, measures)
}

func (p Process) serveAndWork(ctx context.Context, config *rest.Config, clients kube.Clients, measures *prometheus.Registry) error {
	watchdog := leaderelection.NewLeaderHealthzAdaptor(leaseGrace)
	var ready atomic.Bool
	servers, err := serve(p.Options, measures, watchdog.Check, &ready)
	if err != nil {
		return err
	}
	defer servers.close()

	work := func(ctx context.Context) error {
		broadcaster := record.NewBroadcaster(record.WithContext(ctx),
			record.WithCorrelatorOptions(record.CorrelatorOptions{LRUCacheSize: eventsRemembered}))
		broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.Core.CoreV1().Events("")})
		defer broadcaster.Shutdown()
		return p.Work(ctx, Surroundings{
			Clients: clients, Measures: measures,
			Recorder: broadcaster.NewRecorder(p.Scheme, corev1.EventSource{Component: p.Component}),
		})
	}
	ready.Store(true)
	if !p.LeaderElect {
		return work(ctx)
	}
	// The lease does not wait its turn behind what a thousand objects need.
	electionClient, err := kube.NewClients(config)
	if err != nil {
		return err
	}
	return p.lead(ctx, electionClient.Core.CoordinationV1(), watchdog, work)
}
