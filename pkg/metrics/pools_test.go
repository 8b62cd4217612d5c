package metrics_test

import (
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfglisters "github.com/openshift/client-go/machineconfiguration/listers/machineconfiguration/v1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
)

func pool(name string, conditions ...mcfgv1.MachineConfigPoolCondition) *mcfgv1.MachineConfigPool {
	p := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{api.LabelLayeringEnabled: ""}}}
	p.Status.Conditions = append([]mcfgv1.MachineConfigPoolCondition{
		{Type: mcfgv1.MachineConfigPoolNodeDegraded, Status: corev1.ConditionTrue, Reason: "Theirs"},
	}, conditions...)
	return p
}

// is makes the one condition of a build that is True, among others that are not.
func is(kind mcfgv1.MachineConfigPoolConditionType, reason string) []mcfgv1.MachineConfigPoolCondition {
	var list []mcfgv1.MachineConfigPoolCondition
	for _, other := range api.OwnedConditions[:4] {
		c := mcfgv1.MachineConfigPoolCondition{Type: other, Status: corev1.ConditionFalse, Reason: reason}
		if other == kind {
			c.Status = corev1.ConditionTrue
		}
		list = append(list, c)
	}
	return list
}

// TestPools: exactly one sample for each opted-in pool, and it is what the
// cache shows, whatever process asks.
func TestPools(t *testing.T) {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
	var active []string
	r := prometheus.NewRegistry()
	r.MustRegister(metrics.NewPools(mcfglisters.NewMachineConfigPoolLister(indexer), func() []string { return active }))
	names := []string{"ocl_build_state", "ocl_active_builds"}
	set := func(p *mcfgv1.MachineConfigPool) {
		t.Helper()
		if err := indexer.Update(p); err != nil {
			t.Fatal(err)
		}
	}
	wantSamples(t, r, nil, names...)

	set(pool("new"))
	set(pool("queued", is(mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForSlot)...))
	set(pool("builds", is(mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning)...))
	set(pool("built", is(mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonImageReused)...))
	set(pool("failed", is(mcfgv1.MachineConfigPoolBuildFailed, api.ReasonPushFailed)...))
	set(pool("edited", is(mcfgv1.MachineConfigPoolBuildFailed, "SomebodyElsesWords")...))
	optedOut := pool("opted-out", is(mcfgv1.MachineConfigPoolBuildFailed, api.ReasonPushFailed)...)
	optedOut.Labels = nil
	set(optedOut)
	deleted := pool("deleted", is(mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning)...)
	deleted.DeletionTimestamp = &metav1.Time{Time: noon}
	set(deleted)
	active = []string{"builds", "deleted"}
	want := []string{
		`ocl_active_builds{pool="builds"} 1`,
		`ocl_active_builds{pool="built"} 0`,
		`ocl_active_builds{pool="edited"} 0`,
		`ocl_active_builds{pool="failed"} 0`,
		`ocl_active_builds{pool="new"} 0`,
		`ocl_active_builds{pool="queued"} 0`,
		`ocl_build_state{pool="builds",reason="BuildRunning",state="building"} 1`,
		`ocl_build_state{pool="built",reason="ImageReused",state="succeeded"} 1`,
		`ocl_build_state{pool="edited",reason="Other",state="failed"} 1`,
		`ocl_build_state{pool="failed",reason="PushFailed",state="failed"} 1`,
		`ocl_build_state{pool="new",reason="",state="none"} 1`,
		`ocl_build_state{pool="queued",reason="WaitingForSlot",state="pending"} 1`,
	}
	wantSamples(t, r, want, names...)

	// A state replaces the one before; what opts out or goes is gone.
	set(pool("builds", is(mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)...))
	active = nil
	for _, name := range []string{"new", "queued", "built", "edited"} {
		if err := indexer.Delete(pool(name)); err != nil {
			t.Fatal(err)
		}
	}
	failed := pool("failed", is(mcfgv1.MachineConfigPoolBuildFailed, api.ReasonPushFailed)...)
	failed.Labels = nil
	set(failed)
	want = []string{
		`ocl_active_builds{pool="builds"} 0`,
		`ocl_build_state{pool="builds",reason="BuildSucceeded",state="succeeded"} 1`,
	}
	wantSamples(t, r, want, names...)

	// Another process, as after a restart, tells the same.
	again := prometheus.NewRegistry()
	again.MustRegister(metrics.NewPools(mcfglisters.NewMachineConfigPoolLister(indexer), func() []string { return active }))
	wantSamples(t, again, want, names...)
}

// TestKnownReasons: every reason that the loop writes tells itself in a scrape.
func TestKnownReasons(t *testing.T) {
	reasons := []string{
		api.ReasonBuildPending, api.ReasonWaitingForSlot, api.ReasonWaitingForRender, api.ReasonWaitingForRetry, api.ReasonWaitingForCleanup,
		api.ReasonWaitingForRegistry, api.ReasonBuildPreparing, api.ReasonBuildRunning, api.ReasonBuildSucceeded, api.ReasonImageReused,
		api.ReasonBuildFailed, api.ReasonBuildTimedOut, api.ReasonOutOfMemory, api.ReasonOutOfStorage, api.ReasonPullFailed, api.ReasonPushFailed, api.ReasonBuildCancelled,
		api.ReasonInvalidConfig, api.ReasonInvalidDockerfile, api.ReasonInvalidRenderedConfig, api.ReasonUnconfirmedDigest, api.ReasonCannotStart,
	}
	for _, reason := range reasons {
		indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, nil)
		if err := indexer.Add(pool("worker", is(mcfgv1.MachineConfigPoolBuilding, reason)...)); err != nil {
			t.Fatal(err)
		}
		r := prometheus.NewRegistry()
		r.MustRegister(metrics.NewPools(mcfglisters.NewMachineConfigPoolLister(indexer), func() []string { return nil }))
		wantSamples(t, r, []string{`ocl_build_state{pool="worker",reason="` + reason + `",state="building"} 1`}, "ocl_build_state")
	}
}
