package pod

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

const (
	runID = "6b7c"
	index = "sha256:9999"
)

var both = []string{"amd64", "arm64"}

func forBoth(r *buildspec.Request) { r.CustomContent, r.Architectures = true, both }

// memberOf is the digest of the image for an architecture.
func memberOf(architecture string) string { return "sha256:" + architecture }

// partOf is the pod of an architecture.
func (s status) partOf(architecture string) *corev1.Pod {
	r := request(forBoth)
	p := s.of(r)
	p.ObjectMeta = runPart(r, inputs.Root(r), architecture, runID).ObjectMeta
	p.UID, p.CreationTimestamp = types.UID("pod-"+architecture), at
	return p
}

// pushed is a part that ended well; members are those of the index that it
// pushed, if any.
func pushed(architecture string, members ...string) status {
	r := buildspec.Result{Succeeded: true, Member: memberOf(architecture), Members: members, BytesPushed: 3}
	if len(members) > 0 {
		r.Digest = index
	}
	return status{phase: corev1.PodSucceeded, prepare: ended(0, "", says(buildspec.Result{Succeeded: true, BaseDigest: "sha256:2222"})), push: ended(0, "", says(r))}
}

// states are those that a part can be in, by a letter.
var states = map[byte]func(architecture string) status{
	'P': func(string) status { return status{phase: corev1.PodPending} },
	'T': func(string) status {
		return status{phase: corev1.PodPending, prepare: waits("ImagePullBackOff", "no such image")}
	},
	'R': func(string) status { return status{phase: corev1.PodPending, prepare: works()} },
	'N': func(string) status { return status{phase: corev1.PodPending, build: works()} },
	'S': func(a string) status { return pushed(a) },
	'I': func(a string) status { return pushed(a, memberOf("amd64"), memberOf("arm64")) },
	'X': func(a string) status { return pushed(a, "sha256:earlier", memberOf("arm64")) },
	'M': func(string) status { return status{phase: corev1.PodSucceeded, push: ended(0, "", "")} },
	'F': func(string) status { return status{phase: corev1.PodFailed, build: ended(1, "Error", stepFails)} },
	'E': func(string) status {
		return status{phase: corev1.PodFailed, reason: "Evicted", message: "low on memory", conditions: disruption()}
	},
}

// TestEveryCombinationOfTwoParts holds the phase of a run to those of its parts:
// pending, in trouble, preparing, running, succeeded with the own image, with
// the index, with one of an earlier run's image or with nothing, failed,
// evicted, or not there.
func TestEveryCombinationOfTwoParts(t *testing.T) {
	const columns = "PTRNSIXMFE-"
	phases := map[byte]backend.Phase{
		'p': backend.PhasePending, 'r': backend.PhasePreparing, 'n': backend.PhaseRunning,
		's': backend.PhaseSucceeded, 'f': backend.PhaseFailed, 'e': backend.PhaseInterrupted,
	}
	for _, row := range []string{
		"P pprnppppfep",
		"T pprnppppfep",
		"R rrrnrrrrfer",
		"N nnnnnnnnfen",
		"S pprnfsfffep",
		"I pprnsssffep",
		"X pprnfsfffep",
		"M pprnfffffep",
		"F fffffffffff",
		"E eeeeeeeefee",
		"- pprnppppfe ",
	} {
		for i, want := range []byte(row[2:]) {
			a, b := row[0], columns[i]
			var pods []*corev1.Pod
			for n, state := range []byte{a, b} {
				if state != '-' {
					pods = append(pods, states[state](both[n]).partOf(both[n]))
				}
			}
			if len(pods) == 0 {
				continue
			}
			t.Run(fmt.Sprintf("%c%c", a, b), func(t *testing.T) {
				slices.Reverse(pods) // their order says nothing
				o := observe([]*corev1.ConfigMap{inputs.Root(request(forBoth))}, pods)[0]
				if o.Phase != phases[want] {
					t.Fatalf("phase %s, want %s: %s", o.Phase, phases[want], o.Message)
				}
				checkJoined(t, o, string([]byte{a, b}))
			})
		}
	}
}

// checkJoined holds what a run tells to the states of its parts.
func checkJoined(t *testing.T, o backend.Observation, parts string) {
	t.Helper()
	r := request(forBoth)
	if o.UID != runID || o.ID != r.ID || o.Attempt != r.Attempt || o.Deleting || o.Created != at.Time {
		t.Errorf("run %+v", o)
	}
	if want := o.Phase.Active() && strings.Contains(parts, "-"); o.Incomplete != want {
		t.Errorf("incomplete %t, want %t", o.Incomplete, want)
	}
	if (o.Phase == backend.PhaseSucceeded) != (o.Result.Digest == index) {
		t.Errorf("digest %q in phase %s", o.Result.Digest, o.Phase)
	}
	for n, state := range []byte(parts) {
		if pushed := strings.IndexByte("SIX", state) >= 0; pushed != slices.Contains(o.Result.Members, memberOf(both[n])) {
			t.Errorf("members %v", o.Result.Members)
		}
		if state == 'T' && o.Phase.Active() && !strings.Contains(o.Message, both[n]+": container prepare") {
			t.Errorf("message %q does not tell of %s", o.Message, both[n])
		}
		if state == 'F' && !strings.Contains(parts[:n], "F") && (o.Object != "pod/build-"+config+"-"+both[n] || !strings.HasPrefix(o.Message, both[n]+": line 3 failed") || o.Reason != api.ReasonBuildFailed) {
			t.Errorf("%s failed, the run says %s, %s: %q", both[n], o.Object, o.Reason, o.Message)
		}
		if runs := strings.IndexByte("PTRN", state) >= 0; state != '-' && !slices.ContainsFunc(o.Parts, func(p backend.Part) bool {
			return p.Architecture == both[n] && p.Runs == runs && p.UID == types.UID("pod-"+both[n]) && p.Object == "pod/build-"+config+"-"+both[n]
		}) {
			t.Errorf("parts %+v", o.Parts)
		}
	}
}

func TestJoinedSuccess(t *testing.T) {
	first, last := states['S']("amd64").partOf("amd64"), states['I']("arm64").partOf("arm64")
	started := metav1.NewTime(at.Add(-time.Minute))
	first.Status.StartTime = &started
	last.Status.ContainerStatuses[0].State.Terminated.FinishedAt = metav1.NewTime(at.Add(time.Minute))
	o := observe(nil, []*corev1.Pod{first, last})[0]
	want := backend.Observation{
		Pool: request().Pool, RenderedConfig: config, Builder: api.BuilderCustomPod, ID: request().ID, Attempt: 2, RebuildToken: "again", Changes: []string{"one", "two"},
		Object: "pod/build-" + config + "-amd64, pod/build-" + config + "-arm64", UID: runID, Phase: backend.PhaseSucceeded,
		Created: at.Time, Started: started.Time, Timeout: time.Hour, Finished: at.Add(time.Minute),
		Parts: []backend.Part{
			{Object: "pod/build-" + config + "-amd64", UID: "pod-amd64", Architecture: "amd64"},
			{Object: "pod/build-" + config + "-arm64", UID: "pod-arm64", Architecture: "arm64"},
		},
		Result: buildspec.Result{Succeeded: true, Digest: index, Member: memberOf("arm64"), Members: []string{memberOf("amd64"), memberOf("arm64")}, BaseDigest: "sha256:2222", BytesPushed: 6},
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("run:\n%s", diff)
	}
}

// TestFirstFailureCounts, by when it happened.
func TestFirstFailureCounts(t *testing.T) {
	for name, row := range map[string]struct {
		amd64, arm64 byte
		later        string // the part that ended later
		want         string
	}{
		"one after the other":             {'F', 'F', "amd64", "arm64"},
		"the other after the one":         {'F', 'F', "arm64", "amd64"},
		"its own fault before an end":     {'E', 'F', "arm64", "arm64"},
		"nothing else was its own fault":  {'E', 'N', "arm64", "amd64"},
		"nothing is known of either time": {'E', 'E', "", "amd64"},
	} {
		pods := []*corev1.Pod{states[row.amd64]("amd64").partOf("amd64"), states[row.arm64]("arm64").partOf("arm64")}
		for _, p := range pods {
			for i := range p.Status.InitContainerStatuses {
				if c := p.Status.InitContainerStatuses[i].State.Terminated; c != nil && strings.HasSuffix(p.Name, row.later) {
					c.FinishedAt = metav1.NewTime(at.Add(time.Minute))
				}
			}
		}
		if o := observe(nil, pods)[0]; o.Object != "pod/build-"+config+"-"+row.want || !strings.HasPrefix(o.Message, row.want+": ") {
			t.Errorf("%s: %s: %s", name, o.Object, o.Message)
		}
	}
}

func TestDeletionOfParts(t *testing.T) {
	for name, row := range map[string]struct {
		parts                 string
		going                 []int // parts
		root                  bool
		deleting, runDeleting bool
		phase                 backend.Phase
		object                string // the end of it
	}{
		"nothing":                          {parts: "NN", phase: backend.PhaseRunning, object: "arm64"},
		"one by somebody":                  {parts: "NN", going: []int{0}, deleting: true, runDeleting: true, phase: backend.PhaseRunning, object: "amd64"},
		"one, and it says that it failed":  {parts: "FN", going: []int{0}, deleting: true, runDeleting: true, phase: backend.PhaseFailed, object: "amd64"},
		"one that ended well":              {parts: "SN", going: []int{0}, deleting: true, runDeleting: true, phase: backend.PhaseRunning, object: "amd64"},
		"both":                             {parts: "NN", going: []int{0, 1}, deleting: true, runDeleting: true, phase: backend.PhaseRunning, object: "arm64"},
		"all of the build":                 {parts: "NN", going: []int{0, 1}, root: true, deleting: true, phase: backend.PhaseRunning, object: "arm64"},
		"the inputs before the rest":       {parts: "NN", root: true, deleting: true, phase: backend.PhaseRunning, object: "arm64"},
		"what still ran after a failure":   {parts: "NF", going: []int{0}, phase: backend.PhaseFailed, object: "arm64"},
		"which now says that it failed":    {parts: "FF", going: []int{0}, phase: backend.PhaseFailed, object: "arm64"},
		"what still ran after an eviction": {parts: "EN", going: []int{1}, phase: backend.PhaseInterrupted, object: "amd64"},
		"what failed, to make room":        {parts: "NF", going: []int{0, 1}, deleting: true, runDeleting: true, phase: backend.PhaseFailed, object: "arm64"},
		"the one that is left, to make room": {
			parts: "-F", going: []int{1}, deleting: true, runDeleting: true, phase: backend.PhaseFailed, object: "arm64",
		},
		"the one that is left": {parts: "-N", phase: backend.PhaseRunning, object: "arm64"},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(forBoth)
			top := inputs.Root(r)
			if row.root {
				top.DeletionTimestamp = &at
			}
			var pods []*corev1.Pod
			for n, state := range []byte(row.parts) {
				if state == '-' {
					continue
				}
				p := states[state](both[n]).partOf(both[n])
				if slices.Contains(row.going, n) {
					p.DeletionTimestamp = &at
				}
				pods = append(pods, p)
			}
			o := observe([]*corev1.ConfigMap{top}, pods)[0]
			if o.Deleting != row.deleting || o.RunDeleting != row.runDeleting || o.Phase != row.phase || !strings.HasSuffix(o.Object, row.object) {
				t.Errorf("deleting %t, the run alone %t, phase %s, %s", o.Deleting, o.RunDeleting, o.Phase, o.Object)
			}
			if gone := o.Deleting && len(row.going) > 0; o.GoneBy.IsZero() == gone {
				t.Errorf("gone by %v", o.GoneBy)
			}
		})
	}
}

// TestPartsOfSeveralRuns count as interrupted: none of them can make the index.
func TestPartsOfSeveralRuns(t *testing.T) {
	first, other := states['N']("amd64").partOf("amd64"), states['N']("arm64").partOf("arm64")
	other.Annotations[api.AnnotationRun] = "another"
	if o := observe(nil, []*corev1.Pod{first, other})[0]; o.Phase != backend.PhaseInterrupted || o.Reason != api.ReasonBuildInterrupted || o.Message == "" {
		t.Errorf("run %+v", o)
	}
	other = states['N']("").of(request(customContent))
	if o := observe(nil, []*corev1.Pod{first, other})[0]; o.Phase != backend.PhaseInterrupted {
		t.Errorf("run %+v", o)
	}
}

// TestPartsTimeOutByThemselves: what one has used up of its time is not the
// other's.
func TestPartsTimeOutByThemselves(t *testing.T) {
	first, last := states['S']("amd64").partOf("amd64"), states['N']("arm64").partOf("arm64")
	early, late := metav1.NewTime(at.Add(time.Minute)), metav1.NewTime(at.Add(time.Hour))
	first.Status.StartTime, last.Status.StartTime = &early, &late
	if o := observe(nil, []*corev1.Pod{first, last})[0]; o.Started != late.Time {
		t.Errorf("the run that goes on began at %v, want %v", o.Started, late)
	}
}

// TestStepsNameNoImages: what the container says in which steps of the user's
// run is never taken for an image that may be deleted later.
func TestStepsNameNoImages(t *testing.T) {
	lies := says(buildspec.Result{Reason: api.ReasonBuildFailed, Message: "x", Digest: forged, Member: forged, Members: []string{forged}})
	for _, p := range []*corev1.Pod{
		status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", lies)}.partOf("amd64"),
		status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", lies)}.of(request(customContent)),
	} {
		if o := observe(nil, []*corev1.Pod{p})[0]; o.Result.Digest != "" || o.Result.Member != "" || len(o.Result.Members) > 0 {
			t.Errorf("believed: %+v", o.Result)
		}
	}
}
