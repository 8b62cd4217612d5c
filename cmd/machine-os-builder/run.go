package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mcfgscheme "github.com/openshift/client-go/machineconfiguration/clientset/versioned/scheme"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/version"
)

const component = "machine-os-builder"

// leaseGrace is how long after its lease ran out a leader counts as healthy.
const leaseGrace = 20 * time.Second

// eventsRemembered is of how many events, and of how many pools, it is known for
// repetitions what was sent; client-go's own 4096 take megabytes.
const eventsRemembered = 256

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
	prometheusRegistry := prometheus.NewRegistry()
	prometheusRegistry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	metrics.RegisterClientGo(prometheusRegistry)
	config.Wrap(metrics.CountWrites(prometheusRegistry))
	clients, err := kube.NewClients(config)
	if err != nil {
		return err
	}

	watchdog := leaderelection.NewLeaderHealthzAdaptor(leaseGrace)
	var ready atomic.Bool
	servers, err := serve(o, prometheusRegistry, watchdog.Check, &ready)
	if err != nil {
		return err
	}
	defer servers.close()

	work := func(ctx context.Context) error {
		return runControllers(ctx, o, clients, prometheusRegistry)
	}
	ready.Store(true)
	if !o.leaderElect {
		return work(ctx)
	}
	// The lease does not wait its turn behind what a thousand pools need.
	electionClient, err := kube.NewClients(config)
	if err != nil {
		return err
	}
	return lead(ctx, o, electionClient.Core.CoordinationV1(), watchdog, work)
}

func runControllers(ctx context.Context, o options, clients kube.Clients, measures prometheus.Registerer) error {
	informers, err := kube.NewInformers(clients, o.namespace)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx),
		record.WithCorrelatorOptions(record.CorrelatorOptions{LRUCacheSize: eventsRemembered}))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.Core.CoreV1().Events("")})
	defer broadcaster.Shutdown()
	recorder := broadcaster.NewRecorder(mcfgscheme.Scheme, corev1.EventSource{Component: component})
	var loops []loop
	for _, c := range controllers {
		if !slices.Contains(o.controllers, c.name) {
			continue
		}
		l, err := c.make(surroundings{options: o, clients: clients, informers: informers, recorder: recorder, measures: measures})
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

// lead works while it holds the lease. The lease is released only after the
// work has ended, so that two replicas never work at once.
func lead(ctx context.Context, o options, leases coordinationv1.LeasesGetter, watchdog *leaderelection.HealthzAdaptor, work func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding an identity for the lease: %w", err)
	}
	electionCtx, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	started, ended, lost := make(chan struct{}), make(chan error, 1), false
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: o.namespace, Name: component},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: o.leaseDuration, RenewDeadline: o.renewDeadline, RetryPeriod: o.retryPeriod,
		Name:     component,
		WatchDog: watchdog,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				close(started)
				workCtx, stop := context.WithCancel(leading)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				err := work(workCtx)
				lost = leading.Err() != nil
				ended <- err
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
	err = <-ended
	if !lost {
		giveBack(ctx, lock, o.renewDeadline)
	}
	if err != nil || ctx.Err() != nil {
		return err
	}
	return errLeaseLost
}

// giveBack lets another replica lead at once, instead of when the lease has run
// out. The elector could do that, but when it fails to renew it does so, and
// waits for an API server that does not answer, before it ends the work.
func giveBack(ctx context.Context, lock *resourcelock.LeaseLock, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	record, _, err := lock.Get(ctx)
	if err == nil && record.HolderIdentity == lock.Identity() {
		now := metav1.Now()
		err = lock.Update(ctx, resourcelock.LeaderElectionRecord{
			LeaseDurationSeconds: 1, LeaderTransitions: record.LeaderTransitions, AcquireTime: now, RenewTime: now,
		})
	}
	if err != nil {
		klog.FromContext(ctx).Info("The lease is not given back, it has to run out", "cause", err.Error())
	}
}

type httpServers []*http.Server

func (s httpServers) close() {
	for _, server := range s {
		_ = server.Close() // the process ends
	}
}
