package executor

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
)

// want is what a plan comes to.
type want struct {
	phase   buildv1.BuildPhase // "" for no write of the status
	reason  buildv1.StatusReason
	message string
	event   string // "" for none
	creates bool
	deletes bool
	again   bool
}

func (w want) check(t *testing.T, b *buildv1.Build, p Plan) {
	t.Helper()
	got := want{creates: p.CreatePod != nil, deletes: p.DeletePod, again: p.RequeueAfter > 0}
	if s := p.Status; s != nil {
		got.phase, got.reason, got.message = s.Phase, s.Reason, s.Message
	}
	for _, e := range p.Events {
		got.event += e.Type + " " + e.Reason + ": " + e.Message
	}
	if diff := cmp.Diff(w, got, cmp.AllowUnexported(want{})); diff != "" {
		t.Errorf("plan (-want +have):\n%s", diff)
	}
	if s := p.Status; s != nil && s.Phase != buildv1.BuildPhaseNew && s.Phase != buildv1.BuildPhasePending && s.Phase != buildv1.BuildPhaseRunning {
		if s.StartTimestamp == nil || s.CompletionTimestamp == nil || s.Duration != s.CompletionTimestamp.Sub(s.StartTimestamp.Time) {
			t.Errorf("times: %v to %v in %v", s.StartTimestamp, s.CompletionTimestamp, s.Duration)
		}
	}
	if b.Status.Phase != "" && ended(b) && p.CreatePod != nil {
		t.Error("a Build that has ended gets a pod")
	}
}

const (
	startedEvent   = "Normal BuildStarted: Build team/app-1 is now running"
	completedEvent = "Normal BuildCompleted: Build team/app-1 completed successfully"
	failedEvent    = "Normal BuildFailed: Build team/app-1 failed"
	cancelledEvent = "Normal BuildCancelled: Build team/app-1 has been cancelled"
)

// TestPodPhases has a row for each way in which a pod tells how its Build stands.
func TestPodPhases(t *testing.T) {
	pending := phase(buildv1.BuildPhasePending)
	for name, row := range map[string]struct {
		build *buildv1.Build
		world World
		want  want
	}{
		"no pod, new":       {newBuild(), World{}, want{phase: "Pending", creates: true}},
		"no pod, phase New": {newBuild(phase("New")), World{}, want{phase: "Pending", creates: true}},
		"no pod, pending": {newBuild(pending), World{}, want{
			phase: "Error", reason: "BuildPodDeleted", message: "The pod for this build was deleted before the build completed.", event: failedEvent,
		}},
		"no pod, running": {newBuild(running), World{}, want{
			phase: "Error", reason: "BuildPodDeleted", message: "The pod for this build was deleted before the build completed.", event: failedEvent,
		}},
		"another's pod, running": {newBuild(running), World{Pod: newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences[0].UID = "other" })}, want{
			phase: "Error", reason: "BuildPodDeleted", message: "The pod for this build was deleted before the build completed.", event: failedEvent,
		}},
		"pod pending, new":                 {newBuild(), World{Pod: newPod(corev1.PodPending)}, want{phase: "Pending"}},
		"pod without a phase, new":         {newBuild(), World{Pod: newPod("")}, want{phase: "Pending"}},
		"pod pending, pending":             {newBuild(pending, reference), World{Pod: newPod(corev1.PodPending)}, want{}},
		"pod pending, running":             {newBuild(running), World{Pod: newPod(corev1.PodPending)}, want{}},
		"pod pending, push Secret there":   {newBuild(pending, reference, withPush), World{Pod: newPod(corev1.PodPending), Secrets: secrets("push")}, want{}},
		"pod pending, push Secret missing": {newBuild(pending, reference, withPush), World{Pod: newPod(corev1.PodPending)}, want{phase: "Pending", reason: "MissingPushSecret", message: "Missing push secret."}},
		"pod pending, push Secret appears": {
			newBuild(pending, reference, withPush, func(b *buildv1.Build) {
				b.Status.Reason, b.Status.Message = "MissingPushSecret", "Missing push secret."
			}),
			World{Pod: newPod(corev1.PodPending), Secrets: secrets("push")},
			want{phase: "Pending"},
		},
		"pod pending, push Secret still missing": {
			newBuild(pending, reference, withPush, func(b *buildv1.Build) {
				b.Status.Reason, b.Status.Message = "MissingPushSecret", "Missing push secret."
			}),
			World{Pod: newPod(corev1.PodPending)},
			want{},
		},
		"pod pending, git-clone runs":       {newBuild(pending, reference), World{Pod: newPod(corev1.PodPending, begun("git-clone"))}, want{phase: "Running", event: startedEvent}},
		"pod pending, git-clone has run":    {newBuild(pending, reference), World{Pod: newPod(corev1.PodPending, ran("git-clone", 0, ""))}, want{phase: "Running", event: startedEvent}},
		"pod pending, without git, it runs": {newBuild(pending, reference), World{Pod: newPod(corev1.PodPending, begun("manage-dockerfile"))}, want{phase: "Running", event: startedEvent}},
		"pod running":                       {newBuild(pending, reference), World{Pod: newPod(corev1.PodRunning)}, want{phase: "Running", event: startedEvent}},
		"pod running, reason was told": {
			newBuild(pending, reference, withPush, func(b *buildv1.Build) {
				b.Status.Reason, b.Status.Message = "MissingPushSecret", "Missing push secret."
			}),
			World{Pod: newPod(corev1.PodRunning)},
			want{phase: "Running", event: startedEvent},
		},
		"pod running, running": {newBuild(running, reference), World{Pod: newPod(corev1.PodRunning)}, want{}},
		"pod succeeded, nothing of containers": {newBuild(running), World{Pod: newPod(corev1.PodSucceeded)}, want{
			phase: "Error", reason: "NoBuildContainerStatus", message: "The pod for this build has no container statuses indicating success or failure.", event: failedEvent,
		}},
		"pod succeeded, a container did not": {newBuild(running), World{Pod: newPod(corev1.PodSucceeded, ran("push", 3, ""))}, want{
			phase: "Error", reason: "FailedContainer", message: "The pod for this build has at least one container with a non-zero exit status.", event: failedEvent,
		}},
		"pod succeeded":      {newBuild(running), World{Pod: pushedWell()}, want{phase: "Complete", event: completedEvent}},
		"pod succeeded, new": {newBuild(), World{Pod: pushedWell()}, want{phase: "Complete", event: completedEvent}},
		"pod succeeded, nothing to push": {
			newBuild(running, func(b *buildv1.Build) { b.Spec.Output.To = nil }),
			World{Pod: newPod(corev1.PodSucceeded, ran("push", 0, ""))},
			want{phase: "Complete", event: completedEvent},
		},
		"pod succeeded, no digest": {newBuild(running), World{Pod: newPod(corev1.PodSucceeded, ran("push", 0, ""))}, want{
			phase: "Complete", message: "The image was pushed, but its digest is not known.", event: completedEvent,
		}},
		"out of memory": {newBuild(running), World{Pod: newPod(corev1.PodFailed, terminated("docker-build", corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}))}, want{
			phase: "Failed", reason: "OutOfMemoryKilled", message: "The build pod was killed due to an out of memory condition.", event: failedEvent,
		}},
		"the pod out of memory": {newBuild(running), World{Pod: newPod(corev1.PodFailed, because("OOMKilled", ""))}, want{
			phase: "Failed", reason: "OutOfMemoryKilled", message: "The build pod was killed due to an out of memory condition.", event: failedEvent,
		}},
		"evicted": {newBuild(running), World{Pod: newPod(corev1.PodFailed, because("Evicted", "The node was low on resource: memory."), ran("docker-build", 137, ""))}, want{
			phase: "Failed", reason: "BuildPodEvicted", message: "The node was low on resource: memory.", event: failedEvent,
		}},
		"being deleted": {newBuild(running), World{Pod: newPod(corev1.PodFailed, deleted, ran("docker-build", 143, ""))}, want{
			phase: "Error", reason: "BuildPodDeleted", message: "The pod for this build was deleted before the build completed.", event: failedEvent,
		}},
		"being deleted, not stopped": {newBuild(running, reference), World{Pod: newPod(corev1.PodRunning, deleted)}, want{}},
		"deadline": {
			newBuild(running, func(b *buildv1.Build) { d := int64(60); b.Spec.CompletionDeadlineSeconds = &d }),
			World{Pod: newPod(corev1.PodFailed, because("DeadlineExceeded", "Pod was active on the node longer than the specified deadline"),
				reported("docker-build", buildreport.Report{Reason: "DockerBuildFailed", Message: "stopped"}))},
			want{
				phase: "Failed", reason: "GenericBuildFailed", message: "The build exceeded completionDeadlineSeconds=60.", event: failedEvent,
			},
		},
		"deadline of a week": {newBuild(running), World{Pod: newPod(corev1.PodFailed, because("DeadlineExceeded", ""))}, want{
			phase: "Failed", reason: "GenericBuildFailed", message: "The build exceeded completionDeadlineSeconds=604800.", event: failedEvent,
		}},
		"failed, nobody says why": {newBuild(running), World{Pod: newPod(corev1.PodFailed, ran("docker-build", 137, "Killed"))}, want{
			phase: "Failed", reason: "GenericBuildFailed", message: "Generic Build failure - check logs for details.", event: failedEvent,
		}},
		"failed, the kubelet says why": {newBuild(running), World{Pod: newPod(corev1.PodFailed, because("Terminated", "Pod was terminated in response to imminent node shutdown."))}, want{
			phase: "Failed", reason: "GenericBuildFailed", event: failedEvent,
			message: `Generic Build failure - check logs for details. The pod ended with "Terminated": Pod was terminated in response to imminent node shutdown.`,
		}},
		"an unknown phase":    {newBuild(phase("Paused")), World{Pod: newPod(corev1.PodFailed)}, want{}},
		"complete is the end": {newBuild(phase("Complete"), settled), World{Pod: newPod(corev1.PodFailed)}, want{}},
		"failed is the end":   {newBuild(phase("Failed"), settled), World{Pod: pushedWell()}, want{}},
		"error is the end":    {newBuild(phase("Error"), settled), World{Pod: newPod(corev1.PodRunning)}, want{}},
		"being removed":       {newBuild(func(b *buildv1.Build) { b.DeletionTimestamp = &metav1.Time{Time: now} }), World{}, want{}},
	} {
		t.Run(name, func(t *testing.T) {
			before := row.build.DeepCopy()
			row.want.check(t, row.build, Next(row.build, row.world, now))
			if diff := cmp.Diff(before, row.build); diff != "" {
				t.Errorf("the Build was changed:\n%s", diff)
			}
		})
	}
}

// reference is the status that a Build has once it has a pod.
func reference(b *buildv1.Build) { b.Status.OutputDockerImageReference = pullspec }

// settled is what belongs to a last phase.
func settled(b *buildv1.Build) {
	b.Status.StartTimestamp, b.Status.CompletionTimestamp = &metav1.Time{Time: started}, &metav1.Time{Time: now}
	b.Status.Duration, b.Status.LogSnippet = now.Sub(started), "said"
}

// TestReasons has a row for each reason that a Build can get here, but for those that
// tell of a pod's phase alone, or of one that cannot be created (TestNotCreated).
func TestReasons(t *testing.T) {
	inputs := func(b *buildv1.Build) {
		b.Spec.Source.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "c"}}}
		b.Spec.Source.ConfigMaps = []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "b"}}, {ConfigMap: corev1.LocalObjectReference{Name: "a"}}}
	}
	next := func(b *buildv1.Build, w World) func() (*buildv1.Build, Plan) {
		return func() (*buildv1.Build, Plan) { return b, Next(b, w, now) }
	}
	type row struct {
		plan func() (*buildv1.Build, Plan)
		want want
	}
	rows := map[string]row{
		"CannotCreateBuildPodSpec": {func() (*buildv1.Build, Plan) {
			b := newBuild()
			return b, NotSpecified(b, errors.New("too long"), now)
		}, want{phase: "Error", reason: "CannotCreateBuildPodSpec", message: "Failed to create pod spec: too long", event: failedEvent}},
		"InvalidOutputReference": {next(newBuild(func(b *buildv1.Build) { b.Spec.Output.To.Kind = "ImageStreamTag" }), World{}), want{
			phase: "Error", reason: "InvalidOutputReference", event: failedEvent,
			message: `Output image could not be resolved. spec.output.to.kind: Invalid value: "ImageStreamTag": output.to.kind ImageStreamTag needs the OpenShift image registry; use kind DockerImage with a pullspec as its name`,
		}},
		"InvalidImageReference": {next(newBuild(func(b *buildv1.Build) {
			b.Spec.Strategy.DockerStrategy.From = &corev1.ObjectReference{Kind: "ImageStreamImage", Name: "a@b"}
		}), World{}), want{
			phase: "Error", reason: "InvalidImageReference", event: failedEvent,
			message: `Referenced image could not be resolved. spec.strategy.dockerStrategy.from.kind: Invalid value: "ImageStreamImage": strategy.dockerStrategy.from.kind ImageStreamImage needs the OpenShift image registry; use kind DockerImage with a pullspec as its name`,
		}},
		"several problems": {next(newBuild(func(b *buildv1.Build) {
			b.Spec.Output.To.Kind, b.Spec.Source.ContextDir = "ImageStreamTag", "../x"
		}), World{}), want{
			phase: "Error", reason: "CannotCreateBuildPodSpec", event: failedEvent,
			message: `Failed to create pod spec: spec.source.contextDir: Invalid value: "../x": must lie within the source; ` +
				`spec.output.to.kind: Invalid value: "ImageStreamTag": output.to.kind ImageStreamTag needs the OpenShift image registry; use kind DockerImage with a pullspec as its name`,
		}},
		"inputs missing": {next(newBuild(inputs), World{}), want{phase: "New", reason: "GenericBuildFailed", message: "These resources do not exist: ConfigMaps [a, b] Secrets [c]", again: true}},
		"a Secret missing": {next(newBuild(inputs), World{ConfigMaps: configMaps("a", "b")}), want{
			phase: "New", reason: "GenericBuildFailed", message: "These resources do not exist: Secrets [c]", again: true,
		}},
		"still missing": {next(newBuild(inputs, phase("New"), func(b *buildv1.Build) {
			b.Status.Reason, b.Status.Message = "GenericBuildFailed", "These resources do not exist: Secrets [c]"
		}), World{ConfigMaps: configMaps("a", "b")}), want{again: true}},
		"they appeared": {next(newBuild(inputs, phase("New"), func(b *buildv1.Build) {
			b.Status.Reason, b.Status.Message = "GenericBuildFailed", "These resources do not exist: Secrets [c]"
		}), World{ConfigMaps: configMaps("a", "b"), Secrets: secrets("c")}), want{phase: "Pending", creates: true}},
		"UnresolvableEnvironmentVariable": {next(newBuild(func(b *buildv1.Build) {
			b.Spec.Strategy.DockerStrategy.Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}}}
		}), World{}), want{
			phase: "Error", reason: "UnresolvableEnvironmentVariable", event: failedEvent,
			message: `Unable to resolve build environment variable reference., A: field "spec.nodeName" of a Build cannot be used; use metadata.name, .namespace, .uid, .labels or .annotations`,
		}},
		"MissingPushSecret": {next(newBuild(withPush), World{}), want{phase: "Pending", reason: "MissingPushSecret", message: "Missing push secret.", creates: true}},
		"BuildPodExists, an earlier Build's": {func() (*buildv1.Build, Plan) {
			b := newBuild()
			return b, Next(b, World{Pod: newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences[0].UID = "earlier" })}, created.Add(119*time.Second))
		}, want{phase: "New", again: true}},
		"BuildPodExists, it is waited for": {func() (*buildv1.Build, Plan) {
			b := newBuild(phase("New"))
			return b, Next(b, World{Pod: newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences[0].UID = "earlier" })}, created.Add(119*time.Second))
		}, want{again: true}},
		"BuildPodExists, for too long": {func() (*buildv1.Build, Plan) {
			b := newBuild()
			return b, Next(b, World{Pod: newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences[0].UID = "earlier" })}, created.Add(120*time.Second))
		}, want{phase: "Error", reason: "BuildPodExists", message: "The pod for this build already exists and is older than the build.", event: failedEvent}},
		"BuildPodExists, a user's": {next(newBuild(), World{Pod: newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences = nil })}), want{
			phase: "Error", reason: "BuildPodExists", message: "The pod for this build already exists and is older than the build.", event: failedEvent,
		}},
		"CancelledBuild, new": {next(newBuild(cancelled), World{}), want{phase: "Cancelled", reason: "CancelledBuild", message: "The build was cancelled by the user.", event: cancelledEvent}},
		"CancelledBuild, running": {next(newBuild(cancelled, running), World{Pod: newPod(corev1.PodRunning)}), want{
			phase: "Cancelled", reason: "CancelledBuild", message: "The build was cancelled by the user.", event: cancelledEvent, deletes: true,
		}},
		"CancelledBuild, by annotation": {next(newBuild(running, func(b *buildv1.Build) { b.Annotations[api.AnnotationCancelBuild] = "true" }), World{Pod: newPod(corev1.PodRunning)}), want{
			phase: "Cancelled", reason: "CancelledBuild", message: "The build was cancelled by the user.", event: cancelledEvent, deletes: true,
		}},
		"annotation of another value": {next(newBuild(running, reference, func(b *buildv1.Build) { b.Annotations[api.AnnotationCancelBuild] = "no" }), World{Pod: newPod(corev1.PodRunning)}), want{}},
		"CancelledBuild, the pod goes": {next(newBuild(cancelled, running), World{Pod: newPod(corev1.PodRunning, deleted)}), want{
			phase: "Cancelled", reason: "CancelledBuild", message: "The build was cancelled by the user.", event: cancelledEvent,
		}},
		"CancelledBuild, another's pod": {next(newBuild(cancelled), World{Pod: newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences = nil })}), want{
			phase: "Cancelled", reason: "CancelledBuild", message: "The build was cancelled by the user.", event: cancelledEvent,
		}},
		"cancelled, its pod came late": {next(newBuild(phase("Cancelled"), settled), World{Pod: newPod(corev1.PodPending)}), want{deletes: true}},
		"cancelled once it has ended":  {next(newBuild(cancelled, phase("Complete"), settled), World{Pod: pushedWell()}), want{}},
	}
	// What containers say of themselves.
	for reason, container := range map[buildv1.StatusReason]string{
		"FetchSourceFailed": "git-clone", "InvalidContextDirectory": "git-clone", "FetchImageContentFailed": "manage-dockerfile", "ManageDockerfileFailed": "manage-dockerfile",
		"PullBuilderImageFailed": "manage-dockerfile", "DockerBuildFailed": "docker-build", "GenericBuildFailed": "sti-build", "PushImageToRegistryFailed": "push",
		"AssembleUserForbidden": "manage-dockerfile", "FetchScriptsFailed": "manage-dockerfile", "GenericS2IBuildFailed": "sti-build",
	} {
		rows[string(reason)+" of "+container] = row{
			next(newBuild(running), World{Pod: newPod(corev1.PodFailed, reported(container, buildreport.Report{Reason: reason, Message: "it went wrong"}))}),
			want{phase: "Failed", reason: reason, message: "it went wrong", event: failedEvent},
		}
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			b, plan := row.plan()
			row.want.check(t, b, plan)
		})
	}
}

// TestReportsAreNotTrusted: what a container says ends up in a status that others read.
func TestReportsAreNotTrusted(t *testing.T) {
	for name, row := range map[string]struct {
		report buildreport.Report
		want   want
	}{
		"a sentence for a reason": {buildreport.Report{Reason: "no reason", Message: "m"}, want{phase: "Failed", reason: "GenericBuildFailed", message: messageGenericBuildFailed, event: failedEvent}},
		"no message":              {buildreport.Report{Reason: "DockerBuildFailed"}, want{phase: "Failed", reason: "DockerBuildFailed", message: messageGenericBuildFailed, event: failedEvent}},
		"escapes":                 {buildreport.Report{Reason: "DockerBuildFailed", Message: "\x1b[2Ja password=hunter22"}, want{phase: "Failed", reason: "DockerBuildFailed", message: "a password=[redacted]", event: failedEvent}},
		"a long message":          {buildreport.Report{Reason: "DockerBuildFailed", Message: strings.Repeat("é", 1500)}, want{phase: "Failed", reason: "DockerBuildFailed", message: strings.Repeat("é", 1024), event: failedEvent}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuild(running)
			row.want.check(t, b, Next(b, World{Pod: newPod(corev1.PodFailed, reported("docker-build", row.report))}, now))
		})
	}
	for name, pod := range map[string]*corev1.Pod{
		"of the steps":  newPod(corev1.PodSucceeded, reported("docker-build", buildreport.Report{Succeeded: true, Digest: digest}), ran("push", 0, "")),
		"of no form":    newPod(corev1.PodSucceeded, reported("push", buildreport.Report{Succeeded: true, Digest: "sha256:0"})),
		"no success":    newPod(corev1.PodSucceeded, ran("push", 0, `{"reason":"X","digest":"`+digest+`"}`)),
		"of no report":  newPod(corev1.PodSucceeded, ran("push", 0, digest)),
		"beside others": newPod(corev1.PodSucceeded, ran("push", 0, "pushed "+`{"succeeded":true,"digest":"`+digest+`"}`)),
	} {
		t.Run("digest "+name, func(t *testing.T) {
			if s := Next(newBuild(running), World{Pod: pod}, now).Status; s.Output.To != nil {
				t.Errorf("the Build has the digest %q", s.Output.To.ImageDigest)
			}
		})
	}
	t.Run("digest without an output", func(t *testing.T) {
		b := newBuild(running, func(b *buildv1.Build) { b.Spec.Output.To = nil })
		if s := Next(b, World{Pod: pushedWell()}, now).Status; s.Output.To != nil {
			t.Errorf("the Build has the digest %q", s.Output.To.ImageDigest)
		}
	})
}

func TestComplete(t *testing.T) {
	b := newBuild(running)
	got := Next(b, World{Pod: pushedWell()}, now.Add(700*time.Millisecond)).Status
	want := &buildv1.BuildStatus{
		Phase: buildv1.BuildPhaseComplete, StartTimestamp: &metav1.Time{Time: started}, CompletionTimestamp: &metav1.Time{Time: now}, Duration: time.Minute,
		Output: buildv1.BuildStatusOutput{To: &buildv1.BuildStatusOutputTo{ImageDigest: digest}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("status:\n%s", diff)
	}
}

// TestSettle completes what somebody else has ended.
func TestSettle(t *testing.T) {
	said := newPod(corev1.PodFailed, ran("docker-build", 1, "no space left"))
	for name, row := range map[string]struct {
		build   *buildv1.Build
		pod     *corev1.Pod
		writes  bool
		snippet string
	}{
		"complete without a time":   {newBuild(phase("Complete")), pushedWell(), true, ""},
		"failed without a time":     {newBuild(phase("Failed")), said, true, "no space left"},
		"failed without a snippet":  {newBuild(phase("Failed"), settled, func(b *buildv1.Build) { b.Status.LogSnippet = "" }), said, true, "no space left"},
		"failed, there is no pod":   {newBuild(phase("Failed"), settled, func(b *buildv1.Build) { b.Status.LogSnippet = "" }), nil, false, ""},
		"error without a time":      {newBuild(phase("Error")), said, false, ""},
		"complete":                  {newBuild(phase("Complete"), settled), pushedWell(), false, ""},
		"failed, the pod is others": {newBuild(phase("Failed"), settled, func(b *buildv1.Build) { b.Status.LogSnippet = "" }), newPod(corev1.PodFailed, ran("docker-build", 1, "x"), func(p *corev1.Pod) { p.OwnerReferences = nil }), false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			plan := Next(row.build, World{Pod: row.pod}, now)
			if (plan.Status != nil) != row.writes || len(plan.Events) > 0 {
				t.Fatalf("plan %+v", plan)
			}
			if row.writes && (plan.Status.CompletionTimestamp == nil || plan.Status.LogSnippet != row.snippet || plan.Status.Phase != row.build.Status.Phase) {
				t.Errorf("status %+v", plan.Status)
			}
		})
	}
}

// TestTransitions: whatever the pod does, a phase never goes back.
func TestTransitions(t *testing.T) {
	order := []buildv1.BuildPhase{"", "New", "Pending", "Running"}
	pods := []*corev1.Pod{
		nil, newPod(""), newPod(corev1.PodPending), newPod(corev1.PodUnknown), newPod(corev1.PodPending, begun("git-clone")), newPod(corev1.PodRunning), newPod(corev1.PodRunning, deleted),
		newPod(corev1.PodFailed), newPod(corev1.PodFailed, deleted), newPod(corev1.PodSucceeded), pushedWell(), newPod(corev1.PodRunning, func(p *corev1.Pod) { p.OwnerReferences = nil }),
	}
	for _, from := range []buildv1.BuildPhase{"", "New", "Pending", "Running", "Complete", "Failed", "Error", "Cancelled", "Other"} {
		for i, pod := range pods {
			for _, cancel := range []bool{false, true} {
				b := newBuild(phase(from), withPush, func(b *buildv1.Build) { b.Status.Cancelled = cancel })
				plan := Next(b, World{Pod: pod}, now)
				if plan.Status == nil {
					continue
				}
				was, is := slices.Index(order, from), slices.Index(order, plan.Status.Phase)
				if was < 0 && plan.Status.Phase != from || is >= 0 && is < was {
					t.Errorf("pod %d: from %q to %q", i, from, plan.Status.Phase)
				}
			}
		}
	}
}
