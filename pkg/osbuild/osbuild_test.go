package osbuild

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/mcp"
)

const (
	configA = "rendered-worker-aaaa"
	configB = "rendered-worker-bbbb"
	digest1 = "sha256:1111"
	repo    = "registry.example.com/os/images"
	run1    = "run-1"
)

var (
	now     = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	image1  = repo + "@" + digest1
	theirs  = mcfgv1.MachineConfigPoolCondition{Type: mcfgv1.MachineConfigPoolNodeDegraded, Status: corev1.ConditionFalse, Reason: "Theirs"}
	thePool = buildspec.Pool{Name: "worker", UID: "pool-1"}
)

func inputs(change ...func(*Inputs)) Inputs {
	in := Inputs{
		Pool: thePool, OptedIn: true, TargetConfig: configA,
		Config: &RenderedConfig{Name: configA, SpecHash: "spec"},
		Settings: buildconfig.Settings{
			Repository: repo, BaseImage: "registry.example.com/os/base:1",
			MaxConcurrentBuilds: 2, BuildTimeout: time.Hour, MaxBuildRetries: 2, ImagesToKeep: 2,
		},
		DefaultBuilderImage: "registry.example.com/builder:1",
	}
	for _, c := range change {
		c(&in)
	}
	return in
}

func build(d Desired, change ...func(*backend.Observation)) backend.Observation {
	b := backend.Observation{
		Pool: thePool, RenderedConfig: d.Request.RenderedConfig, Builder: d.Request.Builder, ID: d.Request.ID, Attempt: 1,
		Object: d.Request.Object, UID: run1, Phase: backend.PhaseRunning, Created: now.Add(-time.Minute),
		Timeout: d.Request.Timeout,
	}
	for _, c := range change {
		c(&b)
	}
	return b
}

func asBuild(b *backend.Observation) { b.Builder = api.BuilderOpenShift }

func phase(p backend.Phase) func(*backend.Observation) {
	return func(b *backend.Observation) { b.Phase = p }
}

func succeededWith(digest string) func(*backend.Observation) {
	return func(b *backend.Observation) {
		b.Phase, b.Result.Digest, b.Finished = backend.PhaseSucceeded, digest, now
	}
}

func failedWith(reason, message string) func(*backend.Observation) {
	return func(b *backend.Observation) {
		b.Phase, b.Reason, b.Message, b.Finished = backend.PhaseFailed, reason, message, now
	}
}

func recorded(d Desired, outcome Outcome, change ...func(*Record)) Record {
	r := Record{
		Pool: thePool, RenderedConfig: d.Request.RenderedConfig, InputsHash: d.Request.ID, Inputs: d.Fingerprint,
		Outcome: outcome, Attempts: 1, LastRun: run1, Finished: now, Object: d.Request.Object,
	}
	if outcome == Succeeded {
		r.Image = image1
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func marked(r *Record) { r.UnneededSince = now.Add(-time.Minute) }

// verbs names actions briefly, for tables.
func verbs(n NextSteps) string {
	var out []string
	for _, a := range n.Actions {
		switch a := a.(type) {
		case StartBuild:
			out = append(out, "start")
		case DeleteRun:
			out = append(out, "delete-run")
		case RemoveBuild:
			out = append(out, "remove "+a.Build.RenderedConfig)
		case AbandonRun:
			out = append(out, "abandon "+a.Build.RenderedConfig)
		case WriteRecord:
			out = append(out, "record "+string(a.Record.Outcome))
		case DeleteRecord:
			out = append(out, "forget "+a.RenderedConfig)
		case Annotate:
			out = append(out, "annotate "+a.NewestImage)
		}
	}
	return strings.Join(out, ", ")
}

// verdictOf names the one True condition of the first four.
func verdictOf(t *testing.T, list []mcfgv1.MachineConfigPoolCondition) string {
	t.Helper()
	var true4 []string
	for _, c := range list {
		for _, kind := range api.OwnedConditions[:4] {
			if c.Type == kind && c.Status == corev1.ConditionTrue {
				true4 = append(true4, string(c.Type)+"/"+c.Reason)
			}
		}
	}
	if len(true4) > 1 {
		t.Errorf("more than one condition is True: %v", true4)
	}
	return strings.Join(true4, " ")
}

func TestPlanAndStatus(t *testing.T) {
	a := Desire(inputs())
	b := Desire(inputs(func(in *Inputs) {
		in.TargetConfig, in.Config = configB, &RenderedConfig{Name: configB, SpecHash: "other"}
	}))
	token := Desire(inputs(func(in *Inputs) { in.RebuildToken = "again" }))
	free := Slots{Limit: 2}
	found := &Confirmation{Image: image1, Found: true, InputsHash: a.Request.ID}
	foundB := &Confirmation{Image: image1, Found: true, InputsHash: b.Request.ID}
	retryLater := func(r *Record) { r.RetryAt = now.Add(time.Minute) }
	retryNow := func(r *Record) { r.RetryAt = now }

	// Without a record the registry is asked first; in these rows it has nothing.
	nothing := &Confirmation{Image: a.Request.FinalImage}
	nothingB := &Confirmation{Image: b.Request.FinalImage}

	for name, row := range map[string]struct {
		desired Desired
		o       Observed
		actions string
		verdict string
		requeue time.Duration
	}{
		"opted in, registry not asked yet": {a, Observed{Slots: free}, "", "BuildPending/BuildPending", 0},
		"S30: opted in, registry unavailable": {
			a, Observed{Slots: free, Registry: &Confirmation{Image: a.Request.FinalImage, Err: errors.New("503"), Temporary: true}}, "", "BuildPending/WaitingForRegistry", registryRetry,
		},
		"S30: opted in, registry refuses to say": {
			a, Observed{Slots: free, Registry: &Confirmation{Image: a.Request.FinalImage, Err: errors.New("401")}}, "start", "BuildPending/BuildPending", 0,
		},
		"opted in, registry has an image of these inputs": {
			a, Observed{Slots: free, Registry: &Confirmation{Image: a.Request.FinalImage, Found: true, Digest: digest1, InputsHash: a.Request.ID}}, "record Succeeded", "BuildPending/BuildPending", 0,
		},
		"opted in, registry has an image of other inputs": {
			a, Observed{Slots: free, Registry: &Confirmation{Image: a.Request.FinalImage, Found: true, Digest: digest1, InputsHash: "v1-other"}}, "start", "BuildPending/BuildPending", 0,
		},
		"opted in, nothing there": {a, Observed{Slots: free, Registry: nothing}, "start", "BuildPending/BuildPending", 0},
		"no slot":                 {a, Observed{Registry: nothing}, "", "BuildPending/WaitingForSlot", 0},
		"a slot, but others have waited longer": {
			a, Observed{Slots: Slots{Limit: 1, Ahead: 1}, Registry: nothing}, "", "BuildPending/WaitingForSlot", 0,
		},
		"inputs exist, the run does not": {
			a, Observed{Slots: free, Builds: []backend.Observation{build(a, phase(backend.PhaseNone))}, Registry: nothing}, "start", "BuildPending/BuildPending", 0,
		},
		"run pending": {
			a, Observed{Builds: []backend.Observation{build(a, phase(backend.PhasePending))}}, "", "BuildPending/BuildPending", 59 * time.Minute,
		},
		"run pending for too long": {
			a,
			Observed{Builds: []backend.Observation{build(a, phase(backend.PhasePending), func(b *backend.Observation) { b.Created = now.Add(-time.Hour) })}},
			"record Retrying", "BuildPending/BuildPending", 0,
		},
		"run running, given longer than is set now": {
			a, Observed{Builds: []backend.Observation{build(a, func(b *backend.Observation) {
				b.Timeout, b.Started = 4*time.Hour, now.Add(-2*time.Hour)
			})}}, "", "Building/BuildRunning", 2*time.Hour + overrun,
		},
		"run preparing": {a, Observed{Builds: []backend.Observation{build(a, phase(backend.PhasePreparing))}}, "", "Building/BuildPreparing", 64 * time.Minute},
		"S10: the other builder is wanted while one runs": {
			a, Observed{Slots: free, Builds: []backend.Observation{build(a, asBuild)}, Registry: nothing}, "remove " + configA, "BuildPending/WaitingForCleanup", abandonAfter,
		},
		"S10: the other builder is wanted after one failed": {
			a, Observed{Slots: free, Builds: []backend.Observation{build(a, asBuild, failedWith(api.ReasonBuildFailed, "x"))}, Registry: nothing}, "remove " + configA, "BuildPending/WaitingForCleanup", 0,
		},
		"S10: the other builder is wanted after one succeeded": {
			a, Observed{Slots: free, Builds: []backend.Observation{build(a, asBuild, succeededWith(digest1))}, Registry: found}, "record Succeeded", "BuildPending/BuildPending", 0,
		},
		"run running": {a, Observed{Builds: []backend.Observation{build(a)}}, "", "Building/BuildRunning", 64 * time.Minute},
		"S23: run running on a lost node": {
			a,
			Observed{Builds: []backend.Observation{build(a, func(b *backend.Observation) { b.Started = now.Add(-time.Hour - overrun) })}},
			"record Retrying", "BuildPending/BuildPending", 0,
		},
		"run succeeded, registry not asked yet": {
			a, Observed{Builds: []backend.Observation{build(a, succeededWith(digest1))}}, "", "BuildPending/BuildPending", 0,
		},
		"run succeeded, registry knows the digest": {
			a, Observed{Builds: []backend.Observation{build(a, succeededWith(digest1))}, Registry: found}, "record Succeeded", "BuildPending/BuildPending", 0,
		},
		"S13: run succeeded, registry has that digest as an image of other inputs": {
			a,
			Observed{Builds: []backend.Observation{build(a, succeededWith(digest1))}, Registry: &Confirmation{Image: image1, Found: true, InputsHash: "v1-other"}},
			"record Retrying", "BuildPending/BuildPending", 0,
		},
		"run gone, inputs there, registry has its image": {
			a,
			Observed{Slots: free, Builds: []backend.Observation{build(a, phase(backend.PhaseNone))}, Registry: &Confirmation{Image: a.Request.FinalImage, Found: true, Digest: digest1, InputsHash: a.Request.ID}},
			"record Succeeded", "BuildPending/BuildPending", 0,
		},
		"S23: a stale run goes": {
			a,
			Observed{Builds: []backend.Observation{build(b, func(o *backend.Observation) { o.Deleting, o.GoneBy = true, now.Add(-time.Minute) })}},
			"", "BuildPending/WaitingForCleanup", abandonAfter - time.Minute,
		},
		"S23: a stale run hangs": {
			a,
			Observed{Builds: []backend.Observation{build(b, func(o *backend.Observation) { o.Deleting, o.GoneBy = true, now.Add(-abandonAfter) })}},
			"abandon " + configB, "BuildPending/WaitingForCleanup", 0,
		},
		"S23: a run on a lost node hangs, opted out": {
			Desired{OptedOut: true},
			Observed{Builds: []backend.Observation{build(a, func(o *backend.Observation) { o.Deleting, o.GoneBy = true, now.Add(-time.Hour) })}},
			"abandon " + configA, "", 0,
		},
		"settings broken while a build of the target runs": {
			Desire(inputs(func(in *Inputs) { in.Problems = buildconfig.Problems{{Object: "ConfigMap/x", Text: "wrong"}} })),
			Observed{Builds: []backend.Observation{build(a)}},
			"", "BuildFailed/InvalidConfig", 0,
		},
		"settings broken while a build of another config runs": {
			Desire(inputs(func(in *Inputs) { in.Problems = buildconfig.Problems{{Object: "ConfigMap/x", Text: "wrong"}} })),
			Observed{Builds: []backend.Observation{build(b)}},
			"remove " + configB, "BuildFailed/InvalidConfig", abandonAfter,
		},
		"never started in time, waiting for the next try": {
			a,
			Observed{Builds: []backend.Observation{build(a, phase(backend.PhasePending))}, Records: []Record{recorded(a, Retrying, retryLater)}},
			"delete-run", "BuildPending/WaitingForRetry", time.Minute,
		},
		"S30: run succeeded, registry does not answer": {
			a,
			Observed{Builds: []backend.Observation{build(a, succeededWith(digest1))}, Registry: &Confirmation{Image: image1, Err: errors.New("503")}},
			"", "BuildPending/WaitingForRegistry", registryRetry,
		},
		"S13: run succeeded, registry knows no such digest": {
			a,
			Observed{Builds: []backend.Observation{build(a, succeededWith(digest1))}, Registry: &Confirmation{Image: image1}},
			"record Retrying", "BuildPending/BuildPending", 0,
		},
		"S13: run succeeded without a digest": {
			a, Observed{Builds: []backend.Observation{build(a, succeededWith(""))}}, "record Retrying", "BuildPending/BuildPending", 0,
		},
		"success recorded, not annotated": {
			a,
			Observed{Builds: []backend.Observation{build(a, succeededWith(digest1))}, Records: []Record{recorded(a, Succeeded)}, Registry: found},
			"annotate " + image1 + ", remove " + configA, "BuildSuccess/BuildSucceeded", 0,
		},
		"annotated, objects still there": {
			a,
			Observed{NewestImage: image1, ImageConfig: configA, Builds: []backend.Observation{build(a, succeededWith(digest1))}, Records: []Record{recorded(a, Succeeded)}},
			"remove " + configA, "BuildSuccess/BuildSucceeded", 0,
		},
		"done": {
			a, Observed{NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded)}}, "", "BuildSuccess/BuildSucceeded", 0,
		},
		"opted in again before the annotation of its first time was gone": {
			a,
			Observed{NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded, func(r *Record) { r.Reason = api.ReasonImageReused })}},
			"", "BuildSuccess/ImageReused", 0,
		},
		"annotation taken away by somebody": {
			a, Observed{Records: []Record{recorded(a, Succeeded)}, Registry: found}, "annotate " + image1, "BuildSuccess/ImageReused", 0,
		},
		"S29: image of an earlier build, gone from the registry": {
			a, Observed{Slots: free, Records: []Record{recorded(a, Succeeded)}, Registry: &Confirmation{Image: image1}}, "start", "BuildPending/BuildPending", 0,
		},
		"S07: A's image is annotated, B is wanted": {
			b, Observed{Slots: free, NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded)}, Registry: nothingB}, "start", "BuildPending/BuildPending", 0,
		},
		"A's image is annotated as B's by an older annotation pair": {
			b,
			Observed{NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(b, Succeeded)}, Registry: foundB},
			"annotate " + image1, "BuildSuccess/ImageReused", 0,
		},
		"S01: B is wanted while A runs": {
			b, Observed{Slots: free, Builds: []backend.Observation{build(a)}}, "remove " + configA, "BuildPending/WaitingForCleanup", abandonAfter,
		},
		"S04: B is wanted while A terminates": {
			b,
			Observed{Slots: free, Builds: []backend.Observation{build(a, func(b *backend.Observation) { b.Deleting = true })}},
			"", "BuildPending/WaitingForCleanup", abandonAfter,
		},
		"S02: A's late success while B is wanted": {
			b, Observed{Slots: free, Builds: []backend.Observation{build(a, succeededWith(digest1))}, Registry: found}, "remove " + configA, "BuildPending/WaitingForCleanup", 0,
		},
		"S02: A ends while B builds": {
			b,
			Observed{Builds: []backend.Observation{build(b), build(a, succeededWith(digest1), func(b *backend.Observation) { b.UID, b.Deleting = "run-0", true })}, Registry: found},
			"", "Building/BuildRunning", 64 * time.Minute,
		},
		"S02: A fails while B builds": {
			b,
			Observed{Builds: []backend.Observation{build(b), build(a, failedWith(api.ReasonBuildFailed, "late"), func(b *backend.Observation) { b.UID, b.Deleting = "run-0", true })}},
			"", "Building/BuildRunning", 64 * time.Minute,
		},
		"S03: the next try of A is due, B is wanted": {
			b, Observed{Slots: free, Records: []Record{recorded(a, Retrying, retryNow)}, Registry: nothingB}, "start", "BuildPending/BuildPending", 0,
		},
		"S03: A's failed run is left, B is wanted": {
			b,
			Observed{Slots: free, Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}, Records: []Record{recorded(a, Retrying, retryNow)}},
			"remove " + configA, "BuildPending/WaitingForCleanup", 0,
		},
		"S18: B was wanted while nobody looked, and A has failed meanwhile": {
			b, Observed{Slots: free, Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}}, "remove " + configA, "BuildPending/WaitingForCleanup", 0,
		},
		"S18: B was wanted while nobody looked, and A has gone meanwhile": {
			b, Observed{Slots: free, NewestImage: image1, ImageConfig: configA, Registry: nothingB}, "start", "BuildPending/BuildPending", 0,
		},
		"S21: success, and nothing was told before but that it waits": {
			a,
			Observed{
				Builds: []backend.Observation{build(a, succeededWith(digest1))}, Records: []Record{recorded(a, Succeeded)}, Registry: found,
				Conditions: conditionsOf(mcfgv1.MachineConfigPoolBuildPending, api.ReasonBuildPending, "it starts"),
			},
			"annotate " + image1 + ", remove " + configA, "BuildSuccess/BuildSucceeded", 0,
		},
		"S38: the pool's own failure blocks no build of other inputs": {
			token,
			Observed{
				Slots: free, Records: []Record{recorded(a, Failed)}, Registry: nothing,
				Conditions: Status(a, Observed{Records: []Record{recorded(a, Failed, func(r *Record) { r.Reason = api.ReasonBuildFailed })}}, now),
			},
			"start", "BuildPending/BuildPending", 0,
		},
		"S04: other inputs of the same config run": {
			token, Observed{Slots: free, Builds: []backend.Observation{build(a)}}, "remove " + configA, "BuildPending/WaitingForCleanup", abandonAfter,
		},
		"S05: a build of a pool that was deleted and made again": {
			a,
			Observed{Slots: free, Builds: []backend.Observation{build(a, func(b *backend.Observation) { b.Pool.UID = "pool-0" })}},
			"remove " + configA, "BuildPending/WaitingForCleanup", abandonAfter,
		},
		"S05: a record of a pool that was deleted and made again": {
			a, Observed{Slots: free, Records: []Record{recorded(a, Succeeded, func(r *Record) { r.Pool.UID = "pool-0" })}, Registry: nothing}, "start", "BuildPending/BuildPending", 0,
		},
		"S09: rebuild asked for after success": {
			token, Observed{Slots: free, NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded)}, Registry: nothing}, "start", "BuildPending/BuildPending", 0,
		},
		"rebuild asked for, the registry has the image that it was asked for of": {
			token,
			Observed{
				Slots: free, NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded)},
				Registry: &Confirmation{Image: token.Request.FinalImage, Found: true, Digest: digest1, InputsHash: a.Request.ID},
			},
			"start", "BuildPending/BuildPending", 0,
		},
		"rebuild asked for, the registry has an earlier version's answer to it": {
			token,
			Observed{Slots: free, Registry: &Confirmation{Image: token.Request.FinalImage, Found: true, Digest: digest1, InputsHash: token.Request.ID}},
			"record Succeeded", "BuildPending/BuildPending", 0,
		},
		"a rebuild made the same image": {
			token,
			Observed{
				NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded)},
				Builds: []backend.Observation{build(token, succeededWith(digest1))}, Registry: found,
			},
			"record Succeeded", "BuildPending/BuildPending", 0,
		},
		"a rebuild made the same image, which is recorded: no annotation is written": {
			token,
			Observed{
				NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(token, Succeeded)},
				Builds: []backend.Observation{build(token, succeededWith(digest1))},
			},
			"remove " + configA, "BuildSuccess/BuildSucceeded", 0,
		},
		"S29: rebuild asked for, the image that it may make again is marked": {
			token, Observed{Slots: free, Records: []Record{recorded(a, Succeeded, marked)}, Registry: nothing}, "", "BuildPending/BuildPending", 0,
		},
		"S29: rebuild asked for, a superseded image that it may make again is marked": {
			token,
			Observed{Slots: free, Registry: nothing, Records: []Record{recorded(b, Failed, func(r *Record) {
				r.RenderedConfig = configA
				r.Superseded = []SupersededImage{{Image: image1, ImageHash: a.Request.ID, UnneededSince: now}}
			})}},
			"", "BuildPending/BuildPending", 0,
		},
		"run failed": {
			a, Observed{Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}}, "record Retrying", "BuildPending/BuildPending", 0,
		},
		"run failed for what no retry can change": {
			a, Observed{Builds: []backend.Observation{build(a, failedWith(api.ReasonInvalidRenderedConfig, "disks"))}}, "record Failed", "BuildPending/BuildPending", 0,
		},
		"failed try recorded, next not due": {
			a,
			Observed{Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}, Records: []Record{recorded(a, Retrying, retryLater)}},
			"", "BuildPending/WaitingForRetry", time.Minute,
		},
		"failed try recorded, next due": {
			a,
			Observed{Slots: free, Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}, Records: []Record{recorded(a, Retrying, retryNow)}},
			"delete-run", "BuildPending/WaitingForCleanup", 0,
		},
		"failed run gone, next due": {
			a, Observed{Slots: free, Registry: &Confirmation{Image: a.Request.FinalImage}, Records: []Record{recorded(a, Retrying, retryNow)}}, "start", "BuildPending/BuildPending", 0,
		},
		"S13: pushed all the same, and the run went unrecorded": {
			a,
			Observed{Slots: free, Registry: &Confirmation{Image: a.Request.FinalImage, Found: true, Digest: digest1, InputsHash: a.Request.ID}, Records: []Record{recorded(a, Retrying, retryNow)}},
			"record Succeeded", "BuildPending/BuildPending", 0,
		},
		"S20: last try failed": {
			a,
			Observed{Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}, Records: []Record{recorded(a, Retrying, func(r *Record) { r.Attempts, r.LastRun = 2, "run-0" })}},
			"record Failed", "BuildPending/BuildPending", 0,
		},
		"failure recorded for good": {
			a,
			Observed{Slots: free, Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}, Records: []Record{recorded(a, Failed, func(r *Record) { r.Reason = api.ReasonBuildFailed })}},
			"", "BuildFailed/BuildFailed", 0,
		},
		"failed pod deleted by somebody": {
			a, Observed{Slots: free, Records: []Record{recorded(a, Failed, func(r *Record) { r.Reason = api.ReasonBuildFailed })}}, "", "BuildFailed/BuildFailed", 0,
		},
		"new inputs after failure": {
			token,
			Observed{Slots: free, Builds: []backend.Observation{build(a, failedWith(api.ReasonBuildFailed, "step"))}, Records: []Record{recorded(a, Failed)}},
			"remove " + configA, "BuildPending/WaitingForCleanup", 0,
		},
		"run interrupted": {
			a,
			Observed{Builds: []backend.Observation{build(a, phase(backend.PhaseInterrupted), func(b *backend.Observation) { b.Reason = api.ReasonBuildInterrupted })}},
			"record Retrying", "BuildPending/BuildPending", 0,
		},
		"opted out during a build": {
			Desire(inputs(func(in *Inputs) { in.OptedIn = false })), Observed{Builds: []backend.Observation{build(a)}}, "remove " + configA, "", abandonAfter,
		},
		"opted out after success": {
			Desire(inputs(func(in *Inputs) { in.OptedIn = false })),
			Observed{NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded)}},
			"forget " + configA + ", annotate ", "", 0,
		},
		"never opted in, annotated by somebody else": {
			Desire(inputs(func(in *Inputs) { in.OptedIn = false })), Observed{NewestImage: image1}, "", "", 0,
		},
		"settings wrong": {
			Desire(inputs(func(in *Inputs) { in.Problems = buildconfig.Problems{{Object: "ConfigMap/x", Text: "wrong"}} })),
			Observed{},
			"", "BuildFailed/InvalidConfig", 0,
		},
		"custom Dockerfile wrong": {
			Desire(inputs(func(in *Inputs) { in.CustomDockerfile = "FROM nowhere" })), Observed{}, "", "BuildFailed/InvalidDockerfile", 0,
		},
		"no base image": {
			Desire(inputs(func(in *Inputs) { in.Settings.BaseImage = "" })), Observed{}, "", "BuildFailed/InvalidConfig", 0,
		},
		"S35: target is no rendered config": {
			Desire(inputs(func(in *Inputs) { in.TargetConfig = "00-worker" })), Observed{}, "", "BuildFailed/InvalidRenderedConfig", 0,
		},
		"S35: config has an Ignition version that is not known": {
			Desire(inputs(func(in *Inputs) { in.Config.Unsupported = errors.New("version 9.0.0") })), Observed{}, "", "BuildFailed/InvalidRenderedConfig", 0,
		},
		"not rendered yet": {
			Desire(inputs(func(in *Inputs) { in.TargetConfig, in.Config = "", nil })), Observed{}, "", "BuildPending/WaitingForRender", 0,
		},
		"S38: render degraded": {
			Desire(inputs(func(in *Inputs) { m := "bad"; in.RenderDegraded = &m })), Observed{}, "", "BuildPending/WaitingForRender", 0,
		},
		"rolled back to an image that is marked for deletion": {
			a, Observed{Records: []Record{recorded(a, Succeeded, marked)}, Registry: found}, "", "BuildPending/BuildPending", 0,
		},
		"annotated, and marked by who saw the pool before that": {
			a, Observed{NewestImage: image1, ImageConfig: configA, Records: []Record{recorded(a, Succeeded, marked)}}, "", "BuildSuccess/BuildSucceeded", 0,
		},
		"a build may make an image again that is marked for deletion": {
			a,
			Observed{Slots: free, Registry: nothing, Records: []Record{recorded(b, Succeeded, func(r *Record) {
				r.RenderedConfig = configA
				r.Superseded = []SupersededImage{{Image: image1, InputsHash: a.Request.ID, UnneededSince: now}}
			})}},
			"", "BuildPending/BuildPending", 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			row.o.Conditions = append(row.o.Conditions, theirs)
			next := Plan(row.desired, row.o, now)
			if got := verbs(next); got != row.actions {
				t.Errorf("actions %q, want %q", got, row.actions)
			}
			if next.RequeueAfter != row.requeue {
				t.Errorf("requeue after %v, want %v", next.RequeueAfter, row.requeue)
			}
			status := Status(row.desired, row.o, now)
			if got := verdictOf(t, status); got != row.verdict {
				t.Errorf("status %q, want %q", got, row.verdict)
			}
			if diff := cmp.Diff(&theirs, mcp.Condition(status, theirs.Type)); diff != "" {
				t.Errorf("a condition of another controller changed:\n%s", diff)
			}
			row.o.Conditions = status
			if diff := cmp.Diff(status, Status(row.desired, row.o, now.Add(time.Second))); diff != "" && row.verdict != "BuildSuccess/ImageReused" {
				t.Errorf("the same world gives another status a second later:\n%s", diff)
			}
		})
	}
}
