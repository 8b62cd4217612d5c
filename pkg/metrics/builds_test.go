package metrics_test

import (
	"fmt"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

const (
	hash   = "v1-0123"
	config = "rendered-worker-a"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A world is what one look at a pool shows.
type world = osbuild.Observed

func looks(worlds ...world) []world { return worlds }

func run(uid string, phase backend.Phase, change ...func(*backend.Observation)) backend.Observation {
	b := backend.Observation{RenderedConfig: config, ID: hash, UID: types.UID(uid), Phase: phase, Created: noon}
	for _, c := range change {
		c(&b)
	}
	return b
}

func removed(b *backend.Observation)  { b.Deleting = true }
func goes(b *backend.Observation)     { b.Deleting, b.RunDeleting = true, true }
func late(b *backend.Observation)     { b.Created = noon.Add(90 * time.Second) }
func wentAway(b *backend.Observation) { b.UID, b.Phase = "", backend.PhaseNone }

func record(uid string, outcome osbuild.Outcome, reason string, change ...func(*osbuild.Record)) osbuild.Record {
	r := osbuild.Record{
		RenderedConfig: config, InputsHash: hash, LastRun: types.UID(uid), Outcome: outcome, Reason: reason,
		Started: noon, Finished: noon.Add(40 * time.Second),
		Timings: []buildspec.Timing{{Name: "push", Seconds: 12.5}, {Name: "total", Seconds: 40}},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func succeeded(uid string) osbuild.Record {
	return record(uid, osbuild.Succeeded, api.ReasonBuildSucceeded)
}

func pending(reason, message string) []mcfgv1.MachineConfigPoolCondition {
	return []mcfgv1.MachineConfigPoolCondition{{
		Type: mcfgv1.MachineConfigPoolBuildPending, Status: corev1.ConditionTrue, Reason: reason, Message: message,
	}}
}

// queued is the status of a pool that has waited since noon.
func queued() []mcfgv1.MachineConfigPoolCondition {
	return pending(api.ReasonWaitingForSlot, "as many builds run as maxConcurrentBuilds=2 allows; number 3 or better in the queue since 2026-03-01T12:00:00Z")
}

// counts are the samples of the runs, less those that are 0.
type counts struct {
	succeeded, failed, interrupted, retries, reused int
	// durations and queued are observations with their sum.
	durations, queued, pushed string
	failures                  string
}

func TestBuilds(t *testing.T) {
	for name, row := range map[string]struct {
		looks []world
		want  counts
	}{
		"a pool that builds nothing": {looks(world{}, world{}), counts{}},
		"a run succeeds": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhasePending)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseSucceeded)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseSucceeded)}, Records: []osbuild.Record{succeeded("1")}},
				world{Records: []osbuild.Record{succeeded("1")}}),
			counts{succeeded: 1, durations: "1 40", queued: "1 0", pushed: "1 12.5"},
		},
		"its record is written again": {
			looks(world{}, world{Records: []osbuild.Record{succeeded("1")}},
				world{Records: []osbuild.Record{record("1", osbuild.Succeeded, api.ReasonBuildSucceeded, func(r *osbuild.Record) { r.UnneededSince = noon })}}),
			counts{succeeded: 1, durations: "1 40", pushed: "1 12.5"},
		},
		"the cache is behind": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhaseSucceeded)}, Records: []osbuild.Record{succeeded("1")}},
				world{Builds: []backend.Observation{run("1", backend.PhaseRunning)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseSucceeded, removed)}},
				world{Records: []osbuild.Record{succeeded("1")}}),
			counts{succeeded: 1, durations: "1 40", pushed: "1 12.5"},
		},
		"S20 a try fails, the next succeeds": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhaseRunning)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseFailed)}, Records: []osbuild.Record{record("1", osbuild.Retrying, api.ReasonPushFailed)}},
				world{Records: []osbuild.Record{record("1", osbuild.Retrying, api.ReasonPushFailed)}},
				world{Builds: []backend.Observation{run("2", backend.PhasePending)}, Records: []osbuild.Record{record("1", osbuild.Retrying, api.ReasonPushFailed)}},
				world{Records: []osbuild.Record{succeeded("2")}}),
			counts{succeeded: 1, failed: 1, retries: 1, durations: "2 80", queued: "2 0", pushed: "1 12.5", failures: api.ReasonPushFailed},
		},
		"the last try fails": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhaseFailed)}, Records: []osbuild.Record{record("1", osbuild.Failed, api.ReasonBuildFailed)}}),
			counts{failed: 1, durations: "1 40", failures: api.ReasonBuildFailed},
		},
		"a reason that nobody knows": {
			looks(world{}, world{Records: []osbuild.Record{record("1", osbuild.Failed, "forged-\"\n")}}),
			counts{failed: 1, durations: "1 40", failures: "Other"},
		},
		"S23 an eviction": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhaseRunning)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseRunning, goes)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseInterrupted, goes)}, Records: []osbuild.Record{record("1", osbuild.Retrying, api.ReasonBuildInterrupted)}},
				world{Builds: []backend.Observation{run("2", backend.PhaseRunning)}, Records: []osbuild.Record{record("1", osbuild.Retrying, api.ReasonBuildInterrupted)}}),
			counts{interrupted: 1, retries: 1, durations: "1 40", queued: "2 0"},
		},
		"S23 a run goes without a trace": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhaseRunning)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseRunning, wentAway)}},
				world{Builds: []backend.Observation{run("2", backend.PhaseRunning)}}),
			counts{interrupted: 1, queued: "2 0"},
		},
		"S01 newer inputs replace a run": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhaseRunning)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseRunning, removed)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseRunning, removed)}}, world{}),
			counts{interrupted: 1, queued: "1 0"},
		},
		"it is gone in a live look, and there once more in the cache": {
			looks(world{}, world{Builds: []backend.Observation{run("1", backend.PhaseRunning)}}, world{},
				world{Builds: []backend.Observation{run("1", backend.PhaseRunning)}}, world{}),
			counts{interrupted: 1, queued: "1 0"},
		},
		"S06 a pool waits for a slot": {
			looks(world{}, world{Conditions: queued()}, world{Conditions: pending(api.ReasonBuildPending, "starts")},
				world{Conditions: pending(api.ReasonBuildPending, "starts"), Builds: []backend.Observation{run("1", backend.PhasePending, late)}}),
			counts{queued: "1 90"},
		},
		"S19 the controller is restarted while a pool waits": {
			looks(world{Conditions: queued()}, world{Conditions: queued(), Builds: []backend.Observation{run("1", backend.PhasePending, late)}}),
			counts{queued: "1 90"},
		},
		"a pool that waited is blocked meanwhile": {
			looks(world{Conditions: queued()}, world{}, world{Builds: []backend.Observation{run("1", backend.PhasePending, late)}}),
			counts{queued: "1 0"},
		},
		"clocks differ": {
			looks(world{Conditions: queued()}, world{Builds: []backend.Observation{run("1", backend.PhasePending, func(b *backend.Observation) { b.Created = noon.Add(-time.Minute) })}}),
			counts{queued: "1 0"},
		},
		"S19 the controller is restarted after all ended": {
			looks(world{Records: []osbuild.Record{succeeded("1")}}, world{Records: []osbuild.Record{succeeded("1")}}),
			counts{},
		},
		"S17 the run ends while the controller is down": {
			looks(world{Builds: []backend.Observation{run("1", backend.PhaseSucceeded)}},
				world{Builds: []backend.Observation{run("1", backend.PhaseSucceeded)}, Records: []osbuild.Record{succeeded("1")}}),
			counts{succeeded: 1, durations: "1 40", pushed: "1 12.5"},
		},
		"an image is found": {
			looks(world{}, world{Records: []osbuild.Record{record("", osbuild.Succeeded, api.ReasonImageReused)}},
				world{Records: []osbuild.Record{record("", osbuild.Succeeded, api.ReasonImageReused)}}),
			counts{reused: 1},
		},
		"a record that cannot be read": {looks(world{}, world{Records: []osbuild.Record{{RenderedConfig: config}}}), counts{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := prometheus.NewRegistry()
			b := metrics.NewBuilds(r)
			for _, w := range row.looks {
				b.Observe("worker", w)
				b.Observe("worker", w) // to look twice changes nothing
			}
			row.want.check(t, r)
		})
	}
}

// check compares the whole exposition of the runs.
func (c counts) check(t *testing.T, r *prometheus.Registry) {
	t.Helper()
	wantSamples(t, r, []string{
		fmt.Sprintf(`ocl_build_retries_total{pool="worker"} %d`, c.retries),
		fmt.Sprintf(`ocl_build_total{pool="worker",state="failed"} %d`, c.failed),
		fmt.Sprintf(`ocl_build_total{pool="worker",state="interrupted"} %d`, c.interrupted),
		fmt.Sprintf(`ocl_build_total{pool="worker",state="succeeded"} %d`, c.succeeded),
		fmt.Sprintf(`ocl_image_reused_total %d`, c.reused),
	}, "ocl_build_retries_total", "ocl_build_total", "ocl_image_reused_total")
	for what, want := range map[string]string{
		"ocl_build_duration_seconds": c.durations, "ocl_build_queue_duration_seconds": c.queued, "ocl_image_push_duration_seconds": c.pushed,
	} {
		if got := observations(t, r, what); got != want {
			t.Errorf("%s has the observations %q, want %q (number and sum)", what, got, want)
		}
	}
	failures := ""
	for _, line := range scrape(t, r, "ocl_build_failures_total") {
		var reason string
		var n int
		if _, err := fmt.Sscanf(line, "ocl_build_failures_total{reason=%q} %d", &reason, &n); err != nil {
			t.Fatalf("sample %q: %v", line, err)
		}
		if n > 0 {
			failures += reason
		}
	}
	if failures != c.failures {
		t.Errorf("failures are counted of %q, want %q", failures, c.failures)
	}
}

// observations is number and sum of a histogram, whatever its labels; empty for none.
func observations(t *testing.T, r *prometheus.Registry, name string) string {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	n, sum := uint64(0), 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			n, sum = n+m.GetHistogram().GetSampleCount(), sum+m.GetHistogram().GetSampleSum()
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %g", n, sum)
}

// TestLongLife: the memory of what ended is bounded, and what records tell of
// stays known however long they are kept.
func TestLongLife(t *testing.T) {
	r := prometheus.NewRegistry()
	b := metrics.NewBuilds(r)
	kept := record("kept", osbuild.Succeeded, api.ReasonBuildSucceeded, func(r *osbuild.Record) { r.RenderedConfig = "rendered-worker-old" })
	b.Observe("worker", world{Records: []osbuild.Record{kept}})
	for i := range 100 {
		b.Observe("worker", world{Records: []osbuild.Record{kept, succeeded(fmt.Sprint(i))}})
	}
	wantSamples(t, r, []string{
		`ocl_build_total{pool="worker",state="failed"} 0`,
		`ocl_build_total{pool="worker",state="interrupted"} 0`,
		`ocl_build_total{pool="worker",state="succeeded"} 100`,
	}, "ocl_build_total")
}

// TestForget: a pool that opts out, or is gone, leaves no series; one that
// comes back begins at 0.
func TestForget(t *testing.T) {
	r := prometheus.NewRegistry()
	b := metrics.NewBuilds(r)
	for _, pool := range []string{"infra", "worker"} {
		b.Observe(pool, world{})
		b.Observe(pool, world{Records: []osbuild.Record{succeeded(pool)}})
	}
	b.Forget("never-seen")
	b.Forget("worker")
	infra := []string{
		`ocl_build_retries_total{pool="infra"} 0`,
		`ocl_build_total{pool="infra",state="failed"} 0`,
		`ocl_build_total{pool="infra",state="interrupted"} 0`,
		`ocl_build_total{pool="infra",state="succeeded"} 1`,
	}
	wantSamples(t, r, infra, "ocl_build_total", "ocl_build_retries_total")
	b.Observe("worker", world{})
	wantSamples(t, r, []string{infra[0], `ocl_build_retries_total{pool="worker"} 0`}, "ocl_build_retries_total")
}
