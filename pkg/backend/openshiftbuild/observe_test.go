package openshiftbuild

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

const (
	config = "rendered-worker-aa"
	digest = "sha256:1111"
)

var at = metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func request(change ...func(*buildspec.Request)) buildspec.Request {
	r := buildspec.Request{
		ID: "v1-0123", Attempt: 2, Pool: buildspec.Pool{Name: "worker", UID: "pool-1"}, RenderedConfig: config,
		Builder: api.BuilderOpenShift, Object: "build/build-" + config,
		MachineConfig: buildspec.Payload{Chunks: []string{"a", "b"}, SHA256: "0123"}, BuilderImage: "registry.example.com/builder:1",
		Dockerfile: "FROM registry.example.com/base:1 AS configs\nADD machine-config.tar /\nFROM configs AS final\nRUN true\n",
		BaseImage:  "registry.example.com/base:1", FinalImage: "registry.example.com/os:" + config, ImageLabels: map[string]string{"b": "2", "a": "1", api.ImageLabelInputsHash: "v1-0123"},
		Credentials: buildspec.Credentials{Push: "push", Pull: []string{"pull", "more"}},
		Timeout:     time.Hour, RebuildToken: "again", Changes: []string{"one", "two"},
		Scheduling: buildspec.Scheduling{
			Resources:    corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}},
			NodeSelector: map[string]string{"disk": "fast"},
		},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

// made is the Build of a request, as the API server has it.
func made(status buildv1.BuildStatus) *buildv1.Build {
	r := request()
	b := run(r, inputs.Root(r), nil)
	b.UID, b.CreationTimestamp, b.Status = "run-1", at, status
	return b
}

func ago(d time.Duration) *metav1.Time {
	t := metav1.NewTime(at.Add(-d))
	return &t
}

// TestObserve: each phase and each reason of a Build, and what it means for the pool.
func TestObserve(t *testing.T) {
	ended := func(phase buildv1.BuildPhase, reason buildv1.StatusReason, message string) buildv1.BuildStatus {
		return buildv1.BuildStatus{Phase: phase, Reason: reason, Message: message, StartTimestamp: ago(time.Minute), CompletionTimestamp: ago(0)}
	}
	failed := func(reason buildv1.StatusReason, message string) buildv1.BuildStatus {
		return ended(buildv1.BuildPhaseFailed, reason, message)
	}
	complete := ended(buildv1.BuildPhaseComplete, "", "")
	pushed := *complete.DeepCopy()
	pushed.Output.To = &buildv1.BuildStatusOutputTo{ImageDigest: digest}
	late := failed(buildv1.StatusReasonGenericBuildFailed, "Generic Build failure - check logs for details.")
	late.StartTimestamp = ago(time.Hour)
	skewed := failed(buildv1.StatusReasonGenericBuildFailed, "The build exceeded completionDeadlineSeconds=3600.")
	skewed.StartTimestamp = ago(time.Hour - 2*time.Second)
	unstarted := *skewed.DeepCopy()
	unstarted.StartTimestamp = nil
	logged := failed(buildv1.StatusReasonDockerBuildFailed, "Dockerfile build strategy has failed.")
	logged.LogSnippet = "STEP 3: RUN false\nexit status 1"
	for name, row := range map[string]struct {
		status buildv1.BuildStatus
		phase  backend.Phase
		reason string
		says   string
		digest string
		log    int
	}{
		"nobody runs Builds":    {buildv1.BuildStatus{}, backend.PhasePending, "", "build-executor", "", 0},
		"new":                   {buildv1.BuildStatus{Phase: buildv1.BuildPhaseNew}, backend.PhasePending, "", "", "", 0},
		"new, and it waits":     {buildv1.BuildStatus{Phase: buildv1.BuildPhaseNew, Reason: buildv1.StatusReasonInvalidOutputReference, Message: "Output image could not be resolved."}, backend.PhasePending, "", "Output image could not be resolved.", "", 0},
		"no push secret":        {buildv1.BuildStatus{Phase: buildv1.BuildPhasePending, Reason: buildv1.StatusReasonMissingPushSecret, Message: "Missing push secret."}, backend.PhasePending, "", "MissingPushSecret: Missing push secret.", "", 0},
		"running":               {buildv1.BuildStatus{Phase: buildv1.BuildPhaseRunning, StartTimestamp: ago(0)}, backend.PhaseRunning, "", "", "", 0},
		"complete":              {pushed, backend.PhaseSucceeded, "", "", digest, 0},
		"S13: without digest":   {complete, backend.PhaseSucceeded, "", "status.output.to.imageDigest", "", 0},
		"a step failed":         {logged, backend.PhaseFailed, api.ReasonBuildFailed, "Dockerfile build strategy has failed.", "", 2},
		"pull":                  {failed(buildv1.StatusReasonPullBuilderImageFailed, "x"), backend.PhaseFailed, api.ReasonPullFailed, "x", "", 0},
		"push":                  {failed(buildv1.StatusReasonPushImageToRegistryFailed, "x"), backend.PhaseFailed, api.ReasonPushFailed, "x", "", 0},
		"out of memory":         {failed(buildv1.StatusReasonOutOfMemoryKilled, "x."), backend.PhaseFailed, api.ReasonOutOfMemory, "x; raise limits.memory with " + api.KeyBuildPodResources, "", 0},
		"time":                  {late, backend.PhaseFailed, api.ReasonBuildTimedOut, "buildTimeout=3600s", "", 0},
		"time, by two clocks":   {skewed, backend.PhaseFailed, api.ReasonBuildTimedOut, "buildTimeout=3600s", "", 0},
		"time, not started":     {unstarted, backend.PhaseFailed, api.ReasonBuildTimedOut, "buildTimeout=3600s", "", 0},
		"generic, in time":      {failed(buildv1.StatusReasonGenericBuildFailed, "x"), backend.PhaseFailed, api.ReasonBuildFailed, "x", "", 0},
		"S23: pod deleted":      {ended(buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodDeleted, "x"), backend.PhaseInterrupted, api.ReasonBuildInterrupted, "x", "", 0},
		"S23: evicted":          {failed(buildv1.StatusReasonBuildPodEvicted, "The node was low on resource: memory."), backend.PhaseInterrupted, api.ReasonBuildInterrupted, "low on", "", 0},
		"evicted for its disk":  {failed(buildv1.StatusReasonBuildPodEvicted, `Usage of EmptyDir volume "storage" exceeds the limit "20Gi".`), backend.PhaseFailed, api.ReasonOutOfStorage, "limits.ephemeral-storage", "", 0},
		"cancelled":             {ended(buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild, "The build was cancelled by the user."), backend.PhaseFailed, api.ReasonBuildCancelled, "cancelled by the user", "", 0},
		"a phase of the future": {buildv1.BuildStatus{Phase: "Odd", Message: "x"}, backend.PhaseFailed, api.ReasonBuildFailed, "x", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := observe(nil, nil, []*buildv1.Build{made(row.status)})[0]
			if o.Phase != row.phase || o.Reason != row.reason || !strings.Contains(o.Message, row.says) || (row.says == "") != (o.Message == "") {
				t.Errorf("%s, %s: %q", o.Phase, o.Reason, o.Message)
			}
			if o.Result.Digest != row.digest || o.Result.Succeeded != (row.digest != "") || len(o.Log) != row.log {
				t.Errorf("result %+v, log %q", o.Result, o.Log)
			}
			if finished := row.status.CompletionTimestamp != nil; o.Finished.IsZero() == finished {
				t.Errorf("finished %v", o.Finished)
			}
		})
	}
}

func TestObserveWhatABuildIs(t *testing.T) {
	r := request()
	b := made(buildv1.BuildStatus{Phase: buildv1.BuildPhaseRunning, StartTimestamp: ago(-time.Second)})
	want := backend.Observation{
		Pool: r.Pool, RenderedConfig: config, Builder: api.BuilderOpenShift, ID: r.ID, Attempt: 2, RebuildToken: "again", Changes: []string{"one", "two"},
		Object: "build/build-" + config, UID: "run-1", Phase: backend.PhaseRunning, Timeout: time.Hour, Created: at.Time, Started: at.Add(time.Second),
	}
	root := inputs.Root(r)
	if diff := cmp.Diff([]backend.Observation{want}, observe([]*corev1.ConfigMap{root}, nil, []*buildv1.Build{b})); diff != "" {
		t.Errorf("build:\n%s", diff)
	}
	b.DeletionTimestamp = &at
	if o := observe([]*corev1.ConfigMap{root}, nil, []*buildv1.Build{b})[0]; !o.Deleting || !o.RunDeleting || !o.GoneBy.Equal(at.Add(podGrace)) {
		t.Errorf("deleted: %+v", o)
	}
	root.UID = "root-1"
	runs := map[types.UID]types.UID{"root-1": "run-1", "root-0": "run-0"}
	if o := observe([]*corev1.ConfigMap{root}, runs, []*buildv1.Build{b})[0]; o.UID != "run-1" || o.Gone != "" {
		t.Errorf("S23: a Build that is there is gone: %+v", o)
	}
	if o := observe([]*corev1.ConfigMap{root}, runs, nil)[0]; o.UID != "" || o.Gone != "run-1" || o.Phase != backend.PhaseNone {
		t.Errorf("S23: a Build that is gone: %+v", o)
	}
	if o := observe([]*corev1.ConfigMap{root}, nil, nil)[0]; o.Gone != "" {
		t.Errorf("a Build that never was is gone: %+v", o)
	}
	root.DeletionTimestamp = &at
	if o := observe([]*corev1.ConfigMap{root}, nil, []*buildv1.Build{b})[0]; !o.Deleting || o.RunDeleting {
		t.Errorf("deleted with its inputs: %+v", o)
	}
	stranger := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{api.LabelBuildPod: ""}}}
	if got := observe(nil, nil, []*buildv1.Build{stranger}); len(got) != 0 || observeOne(stranger) != nil || observeOne(nil) != nil {
		t.Errorf("somebody's Build is taken for ours: %+v", got)
	}
}
