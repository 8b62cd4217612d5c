package metrics

import (
	buildv1 "github.com/openshift/api/build/v1"
	buildlisters "github.com/openshift/client-go/build/listers/build/v1"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/labels"
)

// buildPhases are those of a Build that is known; one that has none is New.
var buildPhases = []buildv1.BuildPhase{
	buildv1.BuildPhaseNew, buildv1.BuildPhasePending, buildv1.BuildPhaseRunning, buildv1.BuildPhaseComplete,
	buildv1.BuildPhaseFailed, buildv1.BuildPhaseError, buildv1.BuildPhaseCancelled,
}

// Executor counts the Builds that exist by their phases, from a cache.
type Executor struct {
	lister buildlisters.BuildLister
	builds *prometheus.Desc
}

// NewExecutor makes the collector. The cache has to be filled when it is registered.
func NewExecutor(lister buildlisters.BuildLister) *Executor {
	return &Executor{lister: lister, builds: prometheus.NewDesc("build_executor_builds", "Builds that exist, by phase.", []string{"phase"}, nil)}
}

// Describe implements prometheus.Collector.
func (e *Executor) Describe(ch chan<- *prometheus.Desc) { ch <- e.builds }

// Collect implements prometheus.Collector.
func (e *Executor) Collect(ch chan<- prometheus.Metric) {
	builds, err := e.lister.List(labels.Everything())
	if err != nil {
		return // a lister's List has no error to give
	}
	counts := map[buildv1.BuildPhase]int{}
	for _, b := range builds {
		if b.Status.Phase == "" {
			counts[buildv1.BuildPhaseNew]++
			continue
		}
		counts[b.Status.Phase]++
	}
	for _, phase := range buildPhases {
		ch <- prometheus.MustNewConstMetric(e.builds, prometheus.GaugeValue, float64(counts[phase]), string(phase))
	}
}
