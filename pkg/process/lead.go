package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/klog/v2"
)

// leaseGrace is how long after its lease ran out a leader counts as healthy.
const leaseGrace = 20 * time.Second

// errLeaseLost ends the process: another replica may be working by now.
var errLeaseLost = errors.New("the leader lease was lost")

// lead works while it holds the lease. The lease is released only after the
// work has ended, so that two replicas never work at once.
func (p Process) lead(ctx context.Context, leases coordinationv1.LeasesGetter, watchdog *leaderelection.HealthzAdaptor, work func(context.Context) error) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("finding an identity for the lease: %w", err)
	}
	electionCtx, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	started, ended, lost := make(chan struct{}), make(chan error, 1), false
	lock := &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: p.LeaseNamespace, Name: p.Component},
		Client:     leases,
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          lock,
		LeaseDuration: p.LeaseDuration, RenewDeadline: p.RenewDeadline, RetryPeriod: p.RetryPeriod,
		Name:     p.Component,
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
		giveBack(ctx, lock, p.RenewDeadline)
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
