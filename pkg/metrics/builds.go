package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// Builds counts builds.
type Builds struct {
	started  *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewBuilds makes the metrics and registers them.
func NewBuilds(r prometheus.Registerer) *Builds {
	b := &Builds{
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ocl_build_started_total", Help: "Builds started, retries included.",
		}, []string{"pool"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ocl_build_total", Help: "Runs that ended, by outcome.",
		}, []string{"pool", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ocl_build_duration_seconds", Help: "Time from a run's start to its end.",
			Buckets: []float64{1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600},
		}, []string{"pool", "outcome"}),
	}
	r.MustRegister(b.started, b.outcomes, b.duration)
	return b
}

// Done takes note of an action that was carried out for a pool.
func (b *Builds) Done(pool string, action osbuild.Action) {
	switch a := action.(type) {
	case osbuild.StartBuild:
		b.started.WithLabelValues(pool).Inc()
	case osbuild.WriteRecord:
		outcome := string(a.Record.Outcome)
		b.outcomes.WithLabelValues(pool, outcome).Inc()
		b.duration.WithLabelValues(pool, outcome).Observe(a.Record.Finished.Sub(a.Record.Started).Seconds())
	}
}

// Forget drops the series of a pool that is gone.
func (b *Builds) Forget(pool string) {
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{b.started, b.outcomes, b.duration} {
		v.DeletePartialMatch(prometheus.Labels{"pool": pool})
	}
}
