package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	mcfgscheme "github.com/openshift/client-go/machineconfiguration/clientset/versioned/scheme"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend/pod"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

const component = "machine-os-builder"

// leaseGrace is how long after its lease ran out a leader counts as healthy.
const leaseGrace = 20 * time.Second

// errLeaseLost ends the process: another replica may be working by now.
var errLeaseLost = errors.New("the leader lease was lost")

// run serves health and metrics, waits for the lease, and works until the
// context ends. Then it finishes what is under way and gives the lease back;
// running builds go on.
func run(ctx context.Context, o options) error {
	log := klog.Background()
	log.Info("Starting", "version", version.Version, "namespace", o.namespace, "builderImage", o.builderImage)
	config, err := kube.Config(o.kubeconfig, component+"/"+version.Version)
	if err != nil {
		return err
	}
	clients, err := kube.NewClients(config)
	if err != nil {
		return err
	}
	prometheusRegistry := prometheus.NewRegistry()
	prometheusRegistry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.RegisterClientGo(prometheusRegistry)

	watchdog := leaderelection.NewLeaderHealthzAdaptor(leaseGrace)
	var ready atomic.Bool
	servers, err := serve(o, prometheusRegistry, watchdog.Check, &ready)
	if err != nil {
		return err
	}
	defer servers.close()

	work := func(ctx context.Context) error {
		return runControllers(ctx, o, clients, metrics.NewBuilds(prometheusRegistry))
	}
	ready.Store(true)
	if !o.leaderElect {
		return work(ctx)
	}
	return lead(ctx, o, clients, watchdog, work)
}

func runControllers(ctx context.Context, o options, clients kube.Clients, builds *metrics.Builds) error {
	informers, err := kube.NewInformers(clients, o.namespace)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.Core.CoreV1().Events("")})
	defer broadcaster.Shutdown()
	loop, err := osbuild.New(osbuild.Options{
		Clients: clients, Informers: informers, Namespace: o.namespace, BuilderImage: o.builderImage,
		Backend:  pod.New(clients.Core, informers, o.namespace),
		Recorder: broadcaster.NewRecorder(mcfgscheme.Scheme, corev1.EventSource{Component: component}),
		Metrics:  builds, Clock: clock.RealClock{},
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
	loop.Run(ctx)
	return nil
}

// lead works while it holds the lease. The lease is released only after the
// work has ended, so that two replicas never work at once.
func lead(ctx context.Context, o options, clients kube.Clients, watchdog *leaderelection.HealthzAdaptor, work func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding an identity for the lease: %w", err)
	}
	electionCtx, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	started, ended := make(chan struct{}), make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.namespace, Name: component},
			Client:     clients.Core.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
		},
		LeaseDuration: o.leaseDuration, RenewDeadline: o.renewDeadline, RetryPeriod: o.retryPeriod,
		ReleaseOnCancel: true,
		Name:            component,
		WatchDog:        watchdog,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				close(started)
				workCtx, stop := context.WithCancel(leading)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				ended <- work(workCtx)
				release()
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("setting up leader election: %w", err)
	}
	// Before there is work to finish, a stop ends the election at once.
	defer context.AfterFunc(ctx, func() {
		select {
		case <-started:
		default:
			release()
		}
	})()
	elector.Run(electionCtx)
	select {
	case <-started:
	default:
		return nil
	}
	if err := <-ended; err != nil || ctx.Err() != nil {
		return err
	}
	return errLeaseLost
}

type httpServers []*http.Server

func (s httpServers) close() {
	for _, server := range s {
		_ = server.Close() // the process ends
	}
}
