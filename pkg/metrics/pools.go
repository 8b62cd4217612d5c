package metrics

import (
	"slices"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfglisters "github.com/openshift/client-go/machineconfiguration/listers/machineconfiguration/v1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

// Values of the label "state": how a pool stands, and how a run ended.
const (
	stateNone        = "none" // the loop has not looked at the pool yet
	statePending     = "pending"
	stateBuilding    = "building"
	stateSucceeded   = "succeeded"
	stateFailed      = "failed"
	stateInterrupted = "interrupted" // of runs only
)

var endStates = [...]string{stateSucceeded, stateFailed, stateInterrupted}

// runFailures are the reasons of a run that failed.
var runFailures = []string{
	api.ReasonBuildFailed, api.ReasonBuildTimedOut, api.ReasonOutOfMemory, api.ReasonOutOfStorage,
	api.ReasonPullFailed, api.ReasonPushFailed, api.ReasonInvalidConfig, api.ReasonInvalidDockerfile,
	api.ReasonInvalidRenderedConfig, api.ReasonExtensionsFailed, api.ReasonUnconfirmedDigest, api.ReasonBuildCancelled, reasonOther,
}

// poolReasons are the reasons of a pool's conditions.
var poolReasons = append([]string{
	api.ReasonBuildPending, api.ReasonWaitingForSlot, api.ReasonWaitingForRender, api.ReasonWaitingForRetry,
	api.ReasonWaitingForCleanup, api.ReasonWaitingForRegistry,
	api.ReasonBuildPreparing, api.ReasonBuildRunning, api.ReasonBuildSucceeded, api.ReasonImageReused, api.ReasonCannotStart,
}, runFailures...)

// reasonOther stands for a reason that is none of ours. Others write pools and
// records as well, and each new label value would be a series.
const reasonOther = "Other"

func known(reason string, reasons []string) string {
	if slices.Contains(reasons, reason) {
		return reason
	}
	return reasonOther
}

// Pools tells how each opted-in pool stands. It asks the caches at every
// scrape, so that it has to be registered once they are filled.
type Pools struct {
	lister mcfglisters.MachineConfigPoolLister
	active func() []string

	state, builds *prometheus.Desc
}

var _ prometheus.Collector = (*Pools)(nil)

// NewPools makes the collector. active names the pools with an active run.
func NewPools(lister mcfglisters.MachineConfigPoolLister, active func() []string) *Pools {
	return &Pools{
		lister: lister, active: active,
		state: prometheus.NewDesc("ocl_build_state",
			"How an opted-in pool stands: 1, for the one state and reason that are true.", []string{"pool", "state", "reason"}, nil),
		builds: prometheus.NewDesc("ocl_active_builds",
			"Runs of a pool that are pending or running.", []string{"pool"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (p *Pools) Describe(ch chan<- *prometheus.Desc) {
	ch <- p.state
	ch <- p.builds
}

// Collect implements prometheus.Collector.
func (p *Pools) Collect(ch chan<- prometheus.Metric) {
	pools, err := p.lister.List(labels.Everything())
	if err != nil {
		return // a lister's List has no error to give
	}
	active := map[string]bool{}
	for _, name := range p.active() {
		active[name] = true
	}
	for _, pool := range pools {
		if !mcp.OptedIn(pool) {
			continue
		}
		state, reason := stateOf(pool.Status.Conditions)
		ch <- prometheus.MustNewConstMetric(p.state, prometheus.GaugeValue, 1, pool.Name, state, reason)
		running := 0.0
		if active[pool.Name] {
			running = 1
		}
		ch <- prometheus.MustNewConstMetric(p.builds, prometheus.GaugeValue, running, pool.Name)
	}
}

var states = map[mcfgv1.MachineConfigPoolConditionType]string{
	mcfgv1.MachineConfigPoolBuildPending: statePending,
	mcfgv1.MachineConfigPoolBuilding:     stateBuilding,
	mcfgv1.MachineConfigPoolBuildSuccess: stateSucceeded,
	mcfgv1.MachineConfigPoolBuildFailed:  stateFailed,
}

// stateOf reads the one condition of a build that is True.
func stateOf(conditions []mcfgv1.MachineConfigPoolCondition) (state, reason string) {
	for _, c := range conditions {
		if state, ok := states[c.Type]; ok && c.Status == corev1.ConditionTrue {
			return state, known(c.Reason, poolReasons)
		}
	}
	return stateNone, ""
}
