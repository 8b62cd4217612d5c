package metrics

import (
	"context"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/leaderelection"
	clientmetrics "k8s.io/client-go/tools/metrics"
	"k8s.io/client-go/util/workqueue"
)

// RegisterClientGo publishes what client-go measures of its queues, its requests
// and its leader election, under the names that Kubernetes' own components use.
// client-go takes one provider a process, so it is called once, before any queue
// is made.
func RegisterClientGo(r prometheus.Registerer) {
	q := &queues{
		depth:      gauge("workqueue_depth", "Keys that wait in a queue."),
		adds:       counter("workqueue_adds_total", "Keys added to a queue."),
		latency:    histogram("workqueue_queue_duration_seconds", "Time that a key waited in a queue."),
		work:       histogram("workqueue_work_duration_seconds", "Time that a key's sync took."),
		unfinished: gauge("workqueue_unfinished_work_seconds", "Seconds of work under way."),
		longest:    gauge("workqueue_longest_running_processor_seconds", "Seconds that the longest sync under way has taken."),
		retries:    counter("workqueue_retries_total", "Keys added again after a failure."),
	}
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "rest_client_requests_total", Help: "Requests to the API server, by method and status.",
	}, []string{"code", "method", "host"})
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "rest_client_request_duration_seconds", Help: "Time that a request to the API server took, by verb.",
		Buckets: prometheus.ExponentialBuckets(0.002, 4, 8),
	}, []string{"verb"})
	leader := &leadership{
		status: gauge("leader_election_master_status", "1 while this process holds the lease of that name, 0 while it waits for it."),
		slow:   counter("leader_election_slowpath_total", "Renewals of a lease that had to read it first."),
	}
	r.MustRegister(q.depth, q.adds, q.latency, q.work, q.unfinished, q.longest, q.retries, requests, latency, leader.status, leader.slow)
	workqueue.SetProvider(q)
	leaderelection.SetProvider(leader)
	clientmetrics.Register(clientmetrics.RegisterOpts{
		RequestResult: result{requests}, RequestLatency: duration{latency},
	})
}

type result struct{ vec *prometheus.CounterVec }

func (r result) Increment(_ context.Context, code, method, host string) {
	r.vec.WithLabelValues(code, method, host).Inc()
}

type duration struct{ vec *prometheus.HistogramVec }

func (d duration) Observe(_ context.Context, verb string, _ url.URL, latency time.Duration) {
	d.vec.WithLabelValues(verb).Observe(latency.Seconds())
}

type leadership struct {
	status *prometheus.GaugeVec
	slow   *prometheus.CounterVec
}

func (l *leadership) NewLeaderMetric() leaderelection.LeaderMetric { return l }

func (l *leadership) On(name string)                { l.status.WithLabelValues(name).Set(1) }
func (l *leadership) Off(name string)               { l.status.WithLabelValues(name).Set(0) }
func (l *leadership) SlowpathExercised(name string) { l.slow.WithLabelValues(name).Inc() }

type queues struct {
	depth, unfinished, longest *prometheus.GaugeVec
	adds, retries              *prometheus.CounterVec
	latency, work              *prometheus.HistogramVec
}

var _ workqueue.MetricsProvider = (*queues)(nil)

func (q *queues) NewDepthMetric(name string) workqueue.GaugeMetric {
	return q.depth.WithLabelValues(name)
}

func (q *queues) NewAddsMetric(name string) workqueue.CounterMetric {
	return q.adds.WithLabelValues(name)
}

func (q *queues) NewLatencyMetric(name string) workqueue.HistogramMetric {
	return q.latency.WithLabelValues(name)
}

func (q *queues) NewWorkDurationMetric(name string) workqueue.HistogramMetric {
	return q.work.WithLabelValues(name)
}

func (q *queues) NewUnfinishedWorkSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return q.unfinished.WithLabelValues(name)
}

func (q *queues) NewLongestRunningProcessorSecondsMetric(name string) workqueue.SettableGaugeMetric {
	return q.longest.WithLabelValues(name)
}

func (q *queues) NewRetriesMetric(name string) workqueue.CounterMetric {
	return q.retries.WithLabelValues(name)
}

func gauge(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"name"})
}

func counter(name, help string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"name"})
}

func histogram(name, help string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 4, 11),
	}, []string{"name"})
}
