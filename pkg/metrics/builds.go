package metrics

import (
	"slices"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// Builds counts the runs of builds. Durations have no pool: a histogram for
// each of a thousand pools would take more memory than all else. What has one is
// counted in its sight and made into samples at a scrape.
type Builds struct {
	runs     *prometheus.Desc
	retries  *prometheus.Desc
	failures *prometheus.CounterVec
	reused   prometheus.Counter
	duration *prometheus.HistogramVec
	queued   prometheus.Histogram
	pushed   prometheus.Histogram

	mu    sync.Mutex
	pools map[string]*sight
}

var _ prometheus.Collector = (*Builds)(nil)

// sight is what was seen of a pool.
type sight struct {
	// runs counts those that ended, in the order of endStates.
	runs    [len(endStates)]int
	retries int
	// ended are the runs that were counted, or had ended before the first sight
	// of the pool, oldest first.
	ended []string
	// run is the UID of the run that exists, until its end was counted.
	run string
	// waiting is since when the pool waits for a slot; zero when it does not.
	waiting time.Time
}

// NewBuilds makes the metrics and registers them.
func NewBuilds(r prometheus.Registerer) *Builds {
	b := &Builds{
		runs: prometheus.NewDesc("ocl_build_total",
			"Runs of builds that ended, by how they did.", []string{"pool", "state"}, nil),
		retries: prometheus.NewDesc("ocl_build_retries_total",
			"Runs started because the one before failed or was interrupted.", []string{"pool"}, nil),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "ocl_build_failures_total", Help: "Runs that failed, by reason.",
		}, []string{"reason"}),
		reused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "ocl_image_reused_total", Help: "Images of the wanted inputs that were found in the registry, so that nothing was built.",
		}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "ocl_build_duration_seconds", Help: "Time from a run's start to its end.",
			Buckets: []float64{1, 2, 5, 10, 20, 30, 60, 180, 300, 600, 1200, 1800, 3600},
		}, []string{"state"}),
		queued: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ocl_build_queue_duration_seconds", Help: "Time that a pool waited for a free slot before its run was made.",
			Buckets: []float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600},
		}),
		pushed: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "ocl_image_push_duration_seconds", Help: "Time that the push of an image took.",
			Buckets: []float64{1, 3, 10, 30, 60, 120, 180, 300, 600},
		}),
		pools: map[string]*sight{},
	}
	// A series that begins with its first count hides that count from rate().
	for _, reason := range runFailures {
		b.failures.WithLabelValues(reason)
	}
	for _, state := range endStates {
		b.duration.WithLabelValues(state)
	}
	r.MustRegister(b, b.failures, b.reused, b.duration, b.queued, b.pushed)
	return b
}

// Describe implements prometheus.Collector.
func (b *Builds) Describe(ch chan<- *prometheus.Desc) {
	ch <- b.runs
	ch <- b.retries
}

// Collect implements prometheus.Collector.
func (b *Builds) Collect(ch chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for pool, s := range b.pools {
		for i, state := range endStates {
			ch <- prometheus.MustNewConstMetric(b.runs, prometheus.CounterValue, float64(s.runs[i]), pool, state)
		}
		ch <- prometheus.MustNewConstMetric(b.retries, prometheus.CounterValue, float64(s.retries), pool)
	}
}

// Observe counts what is new in an opted-in pool's world. At the first sight of
// a pool nothing is: whatever ended before, ended before this process.
func (b *Builds) Observe(pool string, o osbuild.Observed) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.pools[pool]
	if s == nil {
		b.first(pool, o)
		return
	}
	for _, r := range o.Records {
		if s.take(keyOf(r)) {
			b.recorded(s, r)
		}
	}
	run := existing(o.Builds)
	if s.run != "" && (run == nil || string(run.UID) != s.run) {
		if s.take(s.run) {
			s.count(stateInterrupted)
		}
		s.run = ""
	}
	if run != nil && s.run == "" && !slices.Contains(s.ended, string(run.UID)) {
		s.run = string(run.UID)
		b.started(s, *run, o.Records)
	}
	s.wait(o.Conditions)
	s.prune(o.Records)
}

// Forget drops the series of a pool that opted out or is gone.
func (b *Builds) Forget(pool string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pools, pool)
}

func (b *Builds) first(pool string, o osbuild.Observed) {
	s := &sight{}
	for _, r := range o.Records {
		s.take(keyOf(r))
	}
	if run := existing(o.Builds); run != nil {
		s.run = string(run.UID)
	}
	s.wait(o.Conditions)
	b.pools[pool] = s
}

func (b *Builds) started(s *sight, run backend.Observation, records []osbuild.Record) {
	waited := time.Duration(0)
	if !s.waiting.IsZero() {
		waited = run.Created.Sub(s.waiting)
	}
	b.queued.Observe(seconds(waited))
	s.waiting = time.Time{}
	if slices.ContainsFunc(records, func(r osbuild.Record) bool {
		return r.Outcome == osbuild.Retrying && r.RenderedConfig == run.RenderedConfig && r.InputsHash == run.ID
	}) {
		s.retries++
	}
}

func (b *Builds) recorded(s *sight, r osbuild.Record) {
	var state string
	switch {
	case r.Reason == api.ReasonImageReused:
		b.reused.Inc()
		return
	case r.Outcome == osbuild.Succeeded:
		state = stateSucceeded
		for _, t := range r.Timings {
			if t.Name == timingPush {
				b.pushed.Observe(t.Seconds)
			}
		}
	case r.Reason == api.ReasonBuildInterrupted:
		state = stateInterrupted
	case r.Outcome == osbuild.Failed, r.Outcome == osbuild.Retrying:
		state = stateFailed
		b.failures.WithLabelValues(known(r.Reason, runFailures)).Inc()
	default:
		return // it cannot be read
	}
	s.count(state)
	b.duration.WithLabelValues(state).Observe(seconds(r.Finished.Sub(r.Started)))
}

// timingPush is the builder's name for the step that pushes.
const timingPush = "push"

func (s *sight) count(state string) { s.runs[slices.Index(endStates[:], state)]++ }

// take notes that a run ended; false when that is known.
func (s *sight) take(run string) bool {
	if slices.Contains(s.ended, run) {
		return false
	}
	s.ended = append(s.ended, run)
	return true
}

func (s *sight) wait(conditions []mcfgv1.MachineConfigPoolCondition) {
	if place, waits := osbuild.PlaceOf(conditions); waits {
		s.waiting = place.Since
	} else if state, _ := stateOf(conditions); state != statePending {
		s.waiting = time.Time{}
	}
}

// stale is how many runs are remembered besides those that records tell of: a
// cache that is behind shows the ones just before.
const stale = 8

func (s *sight) prune(records []osbuild.Record) {
	surplus := len(s.ended) - len(records) - stale
	s.ended = slices.DeleteFunc(s.ended, func(run string) bool {
		if surplus <= 0 || slices.ContainsFunc(records, func(r osbuild.Record) bool { return keyOf(r) == run }) {
			return false
		}
		surplus--
		return true
	})
}

// keyOf is the run that a record tells of. Of an image that was there already
// no run tells, only when it was found.
func keyOf(r osbuild.Record) string {
	if r.LastRun == "" {
		return r.InputsHash + "@" + r.Finished.UTC().Format(time.RFC3339Nano)
	}
	return string(r.LastRun)
}

// existing is the run that is there and was not told to go together with its
// inputs; nil without one.
func existing(builds []backend.Observation) *backend.Observation {
	for i := range builds {
		if b := &builds[i]; b.UID != "" && (!b.Deleting || b.RunDeleting) {
			return b
		}
	}
	return nil
}

// seconds is a duration as it is measured: clocks of two machines may make it
// less than nothing.
func seconds(d time.Duration) float64 { return max(0, d.Seconds()) }
