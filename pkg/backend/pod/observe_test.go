package pod

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

const (
	config = "rendered-worker-aa"
	digest = "sha256:1111"
	forged = "sha256:6666"
)

var at = metav1.NewTime(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))

func request(change ...func(*buildspec.Request)) buildspec.Request {
	r := buildspec.Request{
		ID: "v1-0123", Attempt: 2, Pool: buildspec.Pool{Name: "worker", UID: "pool-1"}, RenderedConfig: config, Builder: api.BuilderCustomPod, Object: "pod/build-" + config,
		MachineConfig: buildspec.Payload{Chunks: []string{"a", "b"}}, BuilderImage: "registry.example.com/builder:1", Dockerfile: "FROM x AS configs\n",
		Timeout: time.Hour, RebuildToken: "again", Changes: []string{"one", "two"},
		Scheduling: buildspec.Scheduling{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}}},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func customContent(r *buildspec.Request) { r.CustomContent = true }

func keptImages(r *buildspec.Request) {
	r.CustomContent, r.StorageClaim, r.Attempt = true, "base-images", 1
}

func unschedulable(message string) []corev1.PodCondition {
	return []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: message}}
}

// status makes the containers' statuses; an init container's name gives where it goes.
type status struct {
	phase           corev1.PodPhase
	reason, message string
	prepare, build  *corev1.ContainerState
	push            *corev1.ContainerState
	conditions      []corev1.PodCondition
}

func (s status) of(r buildspec.Request) *corev1.Pod {
	p := run(r, inputs.Root(r))
	p.UID, p.CreationTimestamp = "run-1", at
	p.Spec.Volumes = nil // as the informer keeps it
	p.Status = corev1.PodStatus{Phase: s.phase, Reason: s.reason, Message: s.message, Conditions: s.conditions}
	add := func(list *[]corev1.ContainerStatus, name string, state *corev1.ContainerState) {
		if state != nil {
			*list = append(*list, corev1.ContainerStatus{Name: name, Image: r.BuilderImage, State: *state})
		}
	}
	if r.CustomContent {
		add(&p.Status.InitContainerStatuses, api.ContainerPrepare, s.prepare)
		add(&p.Status.InitContainerStatuses, api.ContainerBuild, s.build)
		add(&p.Status.ContainerStatuses, api.ContainerPush, s.push)
	} else {
		add(&p.Status.ContainerStatuses, api.ContainerBuild, s.build)
	}
	return p
}

func waits(reason, message string) *corev1.ContainerState {
	return &corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func works() *corev1.ContainerState {
	return &corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

func ended(code int32, reason, message string) *corev1.ContainerState {
	return &corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, Message: message, FinishedAt: at}}
}

func says(r buildspec.Result) string { return string(r.Encode()) }

func disruption() []corev1.PodCondition {
	return []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "TerminationByKubelet"}}
}

var (
	wellDone  = says(buildspec.Result{Succeeded: true, Digest: digest})
	forgedOne = says(buildspec.Result{Succeeded: true, Digest: forged})
	stoppedIt = says(buildspec.Result{Reason: api.ReasonBuildInterrupted, Message: "stale"})
	stepFails = says(buildspec.Result{Reason: api.ReasonBuildFailed, Message: "line 3 failed with exit code 42", Step: "RUN false", Line: 3, ExitCode: 42, Log: []string{"a", "b"}})
)

func TestObserve(t *testing.T) {
	for name, row := range map[string]struct {
		request buildspec.Request
		status  status
		phase   backend.Phase
		reason  string
		says    string // part of the message; empty for none at all
		digest  string
	}{
		"just made":                    {request(), status{}, backend.PhasePending, "", "", ""},
		"pending":                      {request(), status{phase: corev1.PodPending, build: waits("ContainerCreating", "")}, backend.PhasePending, "", "", ""},
		"S14: transient":               {request(), status{phase: corev1.PodPending, build: waits("ErrImagePull", "503")}, backend.PhasePending, "", "", ""},
		"S14: lasting":                 {request(), status{phase: corev1.PodPending, build: waits("ImagePullBackOff", "no such image")}, backend.PhasePending, "", "registry.example.com/builder:1: ImagePullBackOff: no such image", ""},
		"no Secret to mount":           {request(), status{phase: corev1.PodPending, build: waits("CreateContainerConfigError", "secret gone")}, backend.PhasePending, "", "secret gone", ""},
		"S14: of the first step":       {request(customContent), status{phase: corev1.PodPending, prepare: waits("ImagePullBackOff", "x"), build: waits("PodInitializing", "")}, backend.PhasePending, "", "container prepare", ""},
		"no node":                      {request(), status{phase: corev1.PodPending, conditions: unschedulable("0/3 nodes are available")}, backend.PhasePending, "", "0/3 nodes are available", ""},
		"no claim":                     {request(keptImages), status{phase: corev1.PodPending, conditions: unschedulable(`0/3 nodes are available: persistentvolumeclaim "base-images" not found.`)}, backend.PhasePending, "", `not found.; the claim is that of key buildStoragePVC in ConfigMap/on-cluster-build-config: let it exist in this namespace and have a volume that a node for builds can mount, or leave the key out and delete pod/build-` + config, ""},
		"no volume for the claim":      {request(keptImages), status{phase: corev1.PodPending, conditions: unschedulable("0/3 nodes are available: 3 node(s) didn't find available persistent volumes to bind.")}, backend.PhasePending, "", "to bind.; the claim is that of key buildStoragePVC", ""},
		"the volume on another node":   {request(keptImages), status{phase: corev1.PodPending, conditions: unschedulable("0/3 nodes are available: 3 node(s) didn't match PersistentVolume's node affinity.")}, backend.PhasePending, "", "affinity.; the claim is that of key buildStoragePVC", ""},
		"the volume is gone":           {request(keptImages), status{phase: corev1.PodPending, conditions: unschedulable("0/3 nodes are available: 3 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s).")}, backend.PhasePending, "", "pv(s).; the claim is that of key buildStoragePVC", ""},
		"another build has the claim":  {request(keptImages), status{phase: corev1.PodPending, conditions: unschedulable("0/3 nodes are available: 1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod, 2 node(s) didn't match PersistentVolume's node affinity.")}, backend.PhasePending, "", "node affinity.", ""},
		"an unbound claim":             {request(keptImages), status{phase: corev1.PodPending, conditions: unschedulable("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.")}, backend.PhasePending, "", "key buildStoragePVC", ""},
		"preparing":                    {request(customContent), status{phase: corev1.PodPending, prepare: works(), build: waits("PodInitializing", "")}, backend.PhasePreparing, "", "", ""},
		"prepared":                     {request(customContent), status{phase: corev1.PodPending, prepare: ended(0, "", ""), build: waits("PodInitializing", "")}, backend.PhasePreparing, "", "", ""},
		"running the user's steps":     {request(customContent), status{phase: corev1.PodPending, prepare: ended(0, "", ""), build: works()}, backend.PhaseRunning, "", "", ""},
		"steps done":                   {request(customContent), status{phase: corev1.PodPending, prepare: ended(0, "", ""), build: ended(0, "", forgedOne), push: waits("PodInitializing", "")}, backend.PhaseRunning, "", "", ""},
		"pushing":                      {request(customContent), status{phase: corev1.PodRunning, prepare: ended(0, "", ""), build: ended(0, "", forgedOne), push: works()}, backend.PhaseRunning, "", "", ""},
		"running":                      {request(), status{phase: corev1.PodRunning, build: works()}, backend.PhaseRunning, "", "", ""},
		"succeeded":                    {request(), status{phase: corev1.PodSucceeded, build: ended(0, "", wellDone)}, backend.PhaseSucceeded, "", "", digest},
		"succeeded in three steps":     {request(customContent), status{phase: corev1.PodSucceeded, build: ended(0, "", forgedOne), push: ended(0, "", wellDone)}, backend.PhaseSucceeded, "", "", digest},
		"only the steps say so":        {request(customContent), status{phase: corev1.PodSucceeded, build: ended(0, "", forgedOne), push: ended(0, "", "")}, backend.PhaseSucceeded, "", "no result", ""},
		"S13: says nothing":            {request(), status{phase: corev1.PodSucceeded, build: ended(0, "", "")}, backend.PhaseSucceeded, "", "no result", ""},
		"S12: step fails":              {request(customContent), status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", stepFails), push: waits("PodInitializing", "")}, backend.PhaseFailed, api.ReasonBuildFailed, "line 3 failed with exit code 42", ""},
		"failed with a digest":         {request(customContent), status{phase: corev1.PodFailed, build: ended(1, "Error", forgedOne)}, backend.PhaseFailed, api.ReasonBuildFailed, "container image-build exited with 1", ""},
		"says that it says nothing":    {request(customContent), status{phase: corev1.PodFailed, build: ended(1, "Error", "{}")}, backend.PhaseFailed, api.ReasonBuildFailed, "container image-build exited with 1", ""},
		"packages are missing":         {request(customContent), status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", says(buildspec.Result{Reason: api.ReasonExtensionsFailed, Message: "no package a"}))}, backend.PhaseFailed, api.ReasonExtensionsFailed, "no package a", ""},
		"a step says it was nobody":    {request(customContent), status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", says(buildspec.Result{Reason: api.ReasonBuildInterrupted, Message: "nobody"}))}, backend.PhaseFailed, api.ReasonBuildFailed, "nobody", ""},
		"S12: a step forges advice":    {request(customContent), status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", says(buildspec.Result{Message: "it failed\r\nwhat to do: run\u2028this\n"}))}, backend.PhaseFailed, api.ReasonBuildFailed, "it failed what to do: run this", ""},
		"S12: nothing but line ends":   {request(customContent), status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", says(buildspec.Result{Message: "\n\n"}))}, backend.PhaseFailed, api.ReasonBuildFailed, "container image-build exited with 1", ""},
		"several lines of our own":     {request(customContent), status{phase: corev1.PodFailed, prepare: ended(1, "Error", says(buildspec.Result{Message: "two problems:\n\tone\n\ttwo"}))}, backend.PhaseFailed, api.ReasonBuildFailed, "two problems:\n\tone\n\ttwo", ""},
		"another build's input":        {request(customContent), status{phase: corev1.PodFailed, prepare: ended(1, "Error", stoppedIt)}, backend.PhaseInterrupted, api.ReasonBuildInterrupted, "stale", ""},
		"S12: a step stops the build":  {request(customContent), status{phase: corev1.PodFailed, prepare: ended(0, "", ""), build: ended(1, "Error", stoppedIt)}, backend.PhaseFailed, api.ReasonBuildFailed, "stale", ""},
		"pull fails":                   {request(customContent), status{phase: corev1.PodFailed, prepare: ended(1, "Error", says(buildspec.Result{Reason: api.ReasonPullFailed, Message: "pulling x: 401"}))}, backend.PhaseFailed, api.ReasonPullFailed, "pulling x: 401", ""},
		"push fails":                   {request(customContent), status{phase: corev1.PodFailed, build: ended(0, "", ""), push: ended(1, "Error", says(buildspec.Result{Reason: api.ReasonPushFailed, Message: "denied"}))}, backend.PhaseFailed, api.ReasonPushFailed, "denied", ""},
		"panics":                       {request(), status{phase: corev1.PodFailed, build: ended(2, "Error", "panic: x\ngoroutine 1")}, backend.PhaseFailed, api.ReasonBuildFailed, "exited with 2 before it could say why", ""},
		"killed":                       {request(), status{phase: corev1.PodFailed, build: ended(137, "Error", "")}, backend.PhaseFailed, api.ReasonBuildFailed, "(killed)", ""},
		"S24: out of memory":           {request(), status{phase: corev1.PodFailed, build: ended(137, "OOMKilled", "")}, backend.PhaseFailed, api.ReasonOutOfMemory, "limit 2Gi", ""},
		"S24: out of memory, no limit": {request(func(r *buildspec.Request) { r.Scheduling.Resources = corev1.ResourceRequirements{} }), status{phase: corev1.PodFailed, build: ended(137, "OOMKilled", "")}, backend.PhaseFailed, api.ReasonOutOfMemory, "limit of the node", ""},
		"S24: deadline":                {request(), status{phase: corev1.PodFailed, reason: "DeadlineExceeded", build: ended(137, "Error", "")}, backend.PhaseFailed, api.ReasonBuildTimedOut, "buildTimeout=3600s", ""},
		"S24: disk limit":              {request(), status{phase: corev1.PodFailed, reason: "Evicted", message: "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. ", build: ended(137, "Error", "")}, backend.PhaseFailed, api.ReasonOutOfStorage, "containers 1Gi; write less in the Dockerfile, or raise limits.ephemeral-storage in buildPodResources of ConfigMap on-cluster-build-config", ""},
		"S24: emptyDir full":           {request(customContent), status{phase: corev1.PodFailed, reason: "Evicted", message: `Usage of EmptyDir volume "storage" exceeds the limit "20Gi". `, build: ended(137, "Error", "")}, backend.PhaseFailed, api.ReasonOutOfStorage, `"storage" exceeds the limit "20Gi"; write less`, ""},
		"S23: node out of memory":      {request(), status{phase: corev1.PodFailed, reason: "Evicted", message: "The node was low on resource: memory.", conditions: disruption(), build: ended(137, "Error", "")}, backend.PhaseInterrupted, api.ReasonBuildInterrupted, "low on resource: memory.", ""},
		"S23: node out of disk":        {request(customContent), status{phase: corev1.PodFailed, reason: "Evicted", message: "The node was low on resource: ephemeral-storage. Container image-build was using 90Gi, request is 0, has larger consumption of ephemeral-storage. ", conditions: disruption(), build: ended(137, "Error", "")}, backend.PhaseInterrupted, api.ReasonBuildInterrupted, "limits.ephemeral-storage in buildPodResources of ConfigMap on-cluster-build-config below what the node has, which limits each emptyDir too (20Gi where it is not set)", ""},
		"S23: rejected by node":        {request(), status{phase: corev1.PodFailed, reason: "Evicted", message: "The node had condition: [DiskPressure]"}, backend.PhaseInterrupted, api.ReasonBuildInterrupted, "DiskPressure", ""},
		"S23: preempted":               {request(), status{phase: corev1.PodFailed, conditions: disruption(), build: ended(143, "Error", "")}, backend.PhaseInterrupted, api.ReasonBuildInterrupted, "the cluster ended the pod", ""},
		"S23: node shut down":          {request(), status{phase: corev1.PodFailed, reason: "Terminated", message: "node shutdown"}, backend.PhaseInterrupted, api.ReasonBuildInterrupted, "node shutdown", ""},
		"S23: no room after all":       {request(), status{phase: corev1.PodFailed, reason: "OutOfcpu"}, backend.PhaseInterrupted, api.ReasonBuildInterrupted, "OutOfcpu", ""},
		"failed, nobody says why":      {request(), status{phase: corev1.PodFailed, reason: "Odd"}, backend.PhaseFailed, api.ReasonBuildFailed, "Odd", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := row.status.of(row.request)
			before := p.DeepCopy()
			got := observe([]*corev1.ConfigMap{inputs.Root(row.request)}, []*corev1.Pod{p})
			if len(got) != 1 {
				t.Fatalf("%d builds seen, want 1", len(got))
			}
			o := got[0]
			if o.Phase != row.phase || o.Reason != row.reason {
				t.Errorf("phase %s, reason %s; want %s, %s", o.Phase, o.Reason, row.phase, row.reason)
			}
			if !strings.Contains(o.Message, row.says) || (row.says == "") != (o.Message == "") {
				t.Errorf("message %q, want %q in it", o.Message, row.says)
			}
			if remedy := strings.Contains(o.Message, api.KeyBuildStoragePVC); remedy != strings.Contains(row.says, api.KeyBuildStoragePVC) {
				t.Errorf("message %q has the remedy of a claim: %v", o.Message, remedy)
			}
			if o.Phase == backend.PhaseSucceeded && o.Result.Digest != row.digest {
				t.Errorf("digest %q, want %q", o.Result.Digest, row.digest)
			}
			if diff := cmp.Diff(before, p); diff != "" {
				t.Errorf("the cached pod was changed:\n%s", diff)
			}
		})
	}
}

func TestObserveWhatABuildIs(t *testing.T) {
	r := request()
	p := status{phase: corev1.PodRunning, build: works()}.of(r)
	started := metav1.NewTime(at.Add(time.Second))
	p.Status.StartTime = &started
	want := backend.Observation{
		Pool: r.Pool, RenderedConfig: config, Builder: api.BuilderCustomPod, ID: r.ID, Attempt: 2, RebuildToken: "again", Changes: []string{"one", "two"},
		Object: "pod/build-" + config, UID: "run-1", Phase: backend.PhaseRunning, Timeout: time.Hour, Created: at.Time, Started: started.Time,
	}
	if diff := cmp.Diff([]backend.Observation{want}, observe([]*corev1.ConfigMap{inputs.Root(r)}, []*corev1.Pod{p})); diff != "" {
		t.Errorf("build:\n%s", diff)
	}
	if diff := cmp.Diff([]backend.Observation{want}, observe(nil, []*corev1.Pod{p})); diff != "" {
		t.Errorf("build without inputs:\n%s", diff)
	}
	left := observe([]*corev1.ConfigMap{inputs.Root(r)}, nil)
	if len(left) != 1 || left[0].Phase != backend.PhaseNone || left[0].UID != "" || left[0].ID != r.ID {
		t.Errorf("build without a run: %+v", left)
	}
	other := inputs.Root(request(func(r *buildspec.Request) { r.ID = "v1-other" }))
	if mixed := observe([]*corev1.ConfigMap{other}, []*corev1.Pod{p}); mixed[0].ID != "" {
		t.Errorf("parts of two builds are seen as %s", mixed[0].ID)
	}
}

func TestObserveDeletion(t *testing.T) {
	r := request()
	for name, row := range map[string]struct{ root, run, deleting, runDeleting bool }{
		"neither": {}, "the run alone": {false, true, true, true}, "the inputs": {true, false, true, false}, "both": {true, true, true, false},
	} {
		cm, p := inputs.Root(r), status{phase: corev1.PodRunning}.of(r)
		if row.root {
			cm.DeletionTimestamp = &at
		}
		if row.run {
			p.DeletionTimestamp = &at
		}
		o := observe([]*corev1.ConfigMap{cm}, []*corev1.Pod{p})[0]
		if o.Deleting != row.deleting || o.RunDeleting != row.runDeleting {
			t.Errorf("%s is deleted: Deleting %v, RunDeleting %v", name, o.Deleting, o.RunDeleting)
		}
	}
}

// TestObserveStrangers: objects that carry the label but are not of this
// product do no harm.
func TestObserveStrangers(t *testing.T) {
	stranger := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "x", Labels: map[string]string{api.LabelBuildPod: ""}}, Status: corev1.PodStatus{Phase: corev1.PodFailed}}
	if got := observe(nil, []*corev1.Pod{stranger}); len(got) != 1 || got[0].Pool.Name != "" {
		t.Errorf("seen: %+v", got)
	}
	stranger.Status.Phase = corev1.PodSucceeded
	observe(nil, []*corev1.Pod{stranger}) // it has no containers
	if got := observe(nil, nil); len(got) != 0 {
		t.Errorf("nothing is seen as %+v", got)
	}
}

// TestObserveBaseDigest: of a build with steps of the user's, only the container
// that ran before them is asked.
func TestObserveBaseDigest(t *testing.T) {
	const base = "sha256:2222"
	prepared := ended(0, "", says(buildspec.Result{Succeeded: true, BaseDigest: base}))
	lies := buildspec.Result{Succeeded: true, Digest: digest, BaseDigest: forged}
	fails := buildspec.Result{Reason: api.ReasonBuildFailed, Message: "x", BaseDigest: forged}
	for name, row := range map[string]struct {
		request buildspec.Request
		status  status
		want    string
	}{
		"pushed":              {request(customContent), status{phase: corev1.PodSucceeded, prepare: prepared, push: ended(0, "", says(lies))}, base},
		"prepare says none":   {request(customContent), status{phase: corev1.PodSucceeded, prepare: ended(0, "", ""), push: ended(0, "", says(lies))}, ""},
		"a step fails":        {request(customContent), status{phase: corev1.PodFailed, prepare: prepared, build: ended(1, "Error", says(fails))}, base},
		"no step of the user": {request(), status{phase: corev1.PodSucceeded, build: ended(0, "", says(buildspec.Result{Succeeded: true, Digest: digest, BaseDigest: base}))}, base},
	} {
		if got := observe(nil, []*corev1.Pod{row.status.of(row.request)})[0].Result.BaseDigest; got != row.want {
			t.Errorf("%s: base digest %q, want %q", name, got, row.want)
		}
	}
}

// TestObserveInjectedContainer: what an admission webhook puts into the pod is
// neither taken for the result nor in its way.
func TestObserveInjectedContainer(t *testing.T) {
	for name, r := range map[string]buildspec.Request{"one step": request(), "three steps": request(customContent)} {
		p := status{phase: corev1.PodSucceeded, build: ended(0, "", wellDone), push: ended(0, "", wellDone)}.of(r)
		p.Spec.Containers = append([]corev1.Container{{Name: "injected"}}, p.Spec.Containers...)
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "injected", State: *ended(0, "", forgedOne)})
		if got := observe(nil, []*corev1.Pod{p})[0].Result.Digest; got != digest {
			t.Errorf("%s: digest %q, want %q", name, got, digest)
		}
	}
}

// TestStepsTellNoFigures but those that their container can have.
func TestStepsTellNoFigures(t *testing.T) {
	told := buildspec.Result{Reason: api.ReasonBuildFailed, Message: "line 2", BytesPulled: 1 << 60, BytesPushed: 1, Timings: []buildspec.Timing{
		{Name: "build", Seconds: 10.9}, {Name: "total", Seconds: 11.1}, {Name: "push", Seconds: -1}, {Name: "\x1b[2J", Seconds: 1}, {Name: "handover", Seconds: 0},
	}}
	state := ended(1, "Error", string(told.Encode()))
	state.Terminated.StartedAt = metav1.NewTime(at.Add(-10 * time.Second))
	got := observePods(status{phase: corev1.PodFailed, build: state}.of(request(customContent))).Result
	if diff := cmp.Diff([]buildspec.Timing{{Name: "build", Seconds: 10.9}, {Name: "handover", Seconds: 0}}, got.Timings); diff != "" || got.BytesPulled != 0 || got.BytesPushed != 0 {
		t.Errorf("%d bytes pulled, %d pushed, timings:\n%s", got.BytesPulled, got.BytesPushed, diff)
	}
}
