package executor

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// Plan is what to do for a Build, in the order of its fields. Whatever fails is tried
// again from a fresh look, and all of it may be repeated.
type Plan struct {
	// DeletePod removes the pod of the World.
	DeletePod bool
	// CreatePod is the Build as its pod is to see it; nil for no pod.
	CreatePod *buildv1.Build
	// Mirrors says whether that pod gets a registries.conf: its namespace has one.
	Mirrors bool
	// PodName is to become the annotation openshift.io/build.pod-name; "" for as it is.
	PodName string
	// Revision is to become spec.revision; nil for as it is.
	Revision *buildv1.SourceRevision
	// Status is to become the Build's; nil for as it is.
	Status *buildv1.BuildStatus
	// Events tell of that status.
	Events []Event
	// RequeueAfter is when to look again although no watch tells of a change; 0 for never.
	RequeueAfter time.Duration
}

// Event is one on the Build.
type Event struct {
	Type, Reason, Message string
}

// How soon to look again for Secrets and ConfigMaps that do not exist, for a pod that
// goes, and how long that one is waited for.
const (
	firstLook   = 5 * time.Second
	longestLook = time.Minute
	goingLook   = 2 * time.Second
	goingTime   = 2 * time.Minute
)

// Next decides what to do for a Build now.
func Next(b *buildv1.Build, w World, now time.Time) Plan {
	own := w.Pod != nil && Owns(b, w.Pod)
	switch {
	case b.DeletionTimestamp != nil:
		return Plan{}
	case ended(b):
		return settle(b, w, own, now)
	case cancelRequested(b):
		return cancel(b, w, own, now)
	case own:
		return follow(b, w, now)
	case !isNew(b):
		return end(b, nil, outcome{buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodDeleted, messageBuildPodDeleted}, now)
	case w.Pod != nil:
		return foreign(b, w, now)
	default:
		return begin(b, w, now)
	}
}

// Owns says whether a pod is that of this very Build.
func Owns(b *buildv1.Build, pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == b.UID })
}

func cancelRequested(b *buildv1.Build) bool {
	return b.Status.Cancelled || b.Annotations[api.AnnotationCancelBuild] == "true"
}

// begin starts a Build that has no pod.
func begin(b *buildv1.Build, w World, now time.Time) Plan {
	if problems := validate(b); len(problems) > 0 {
		return end(b, nil, invalid(problems), now)
	}
	if missing := missing(b, w); missing != "" {
		status := b.Status.DeepCopy()
		status.Phase, status.Reason, status.Message = buildv1.BuildPhaseNew, buildv1.StatusReasonGenericBuildFailed, missing
		wait := min(max(now.Sub(b.CreationTimestamp.Time)/10, firstLook), longestLook)
		return Plan{Status: changed(b, status), RequeueAfter: wait}
	}
	env, err := resolveEnv(b, strategyOf(b).env, w)
	if err != nil {
		return end(b, nil, outcome{buildv1.BuildPhaseError, buildv1.StatusReasonUnresolvableEnvironmentVariable, messageUnresolvableEnvironment + oneLine(err)}, now)
	}
	status := b.Status.DeepCopy()
	status.Phase, status.Reason, status.Message = buildv1.BuildPhasePending, "", ""
	if to := b.Spec.Output.To; to != nil {
		status.OutputDockerImageReference = to.Name
	}
	for _, name := range pushSecret(b) {
		if w.Secrets[name] == nil {
			status.Reason, status.Message = buildv1.StatusReasonMissingPushSecret, messageMissingPushSecret
		}
	}
	return Plan{CreatePod: asSeen(b, env, status.OutputDockerImageReference), Mirrors: mirrors(w), PodName: newPodName(b, names.BuildPod(b.Name)), Status: status}
}

// newPodName is the name of a Build's pod where the Build does not say it.
func newPodName(b *buildv1.Build, name string) string {
	if b.Annotations[buildv1.BuildPodNameAnnotation] == name {
		return ""
	}
	return name
}

func mirrors(w World) bool {
	m := w.ConfigMaps[api.ConfigMapRegistries]
	return m != nil && m.Data[api.KeyRegistriesConf] != ""
}

// asSeen is the Build without what its pod does not need.
func asSeen(b *buildv1.Build, env []corev1.EnvVar, output string) *buildv1.Build {
	seen := b.DeepCopy()
	seen.TypeMeta = metav1.TypeMeta{APIVersion: buildv1.GroupVersion.String(), Kind: "Build"}
	seen.ManagedFields = nil
	delete(seen.Annotations, corev1.LastAppliedConfigAnnotation)
	seen.Status = buildv1.BuildStatus{OutputDockerImageReference: output}
	if s := seen.Spec.Strategy.DockerStrategy; s != nil {
		s.Env = env
		for i := range s.BuildArgs {
			// The API says that it is ignored.
			s.BuildArgs[i].ValueFrom = nil
		}
	}
	if s := seen.Spec.Strategy.SourceStrategy; s != nil {
		s.Env = env
	}
	return seen
}

// missing names the inputs that do not exist; "" when all do.
func missing(b *buildv1.Build, w World) string {
	inputs := inputs(b)
	absent := func(list []string, exists func(string) bool) string {
		return strings.Join(slices.DeleteFunc(distinct(list), exists), ", ")
	}
	text := ""
	if maps := absent(inputs.ConfigMaps, func(n string) bool { return w.ConfigMaps[n] != nil }); maps != "" {
		text += " ConfigMaps [" + maps + "]"
	}
	if secrets := absent(inputs.Secrets, func(n string) bool { return w.Secrets[n] != nil }); secrets != "" {
		text += " Secrets [" + secrets + "]"
	}
	if text == "" {
		return ""
	}
	return messageMissingResources + text
}

// follow takes over what a Build's own pod says.
func follow(b *buildv1.Build, w World, now time.Time) Plan {
	o := outcomeOf(b, w)
	if o.phase == buildv1.BuildPhasePending && b.Status.Phase == buildv1.BuildPhaseRunning {
		// The pod does not get back to where it was; what shows it so is behind.
		return Plan{}
	}
	if !active(o.phase) {
		plan := end(b, w.Pod, o, now)
		plan.PodName, plan.Revision = newPodName(b, w.Pod.Name), newRevision(b, w.Pod)
		return plan
	}
	status := b.Status.DeepCopy()
	status.Phase, status.Reason, status.Message = o.phase, o.reason, o.message
	if to := b.Spec.Output.To; to != nil && status.OutputDockerImageReference == "" {
		status.OutputDockerImageReference = to.Name
	}
	if o.phase == buildv1.BuildPhaseRunning && status.StartTimestamp == nil {
		status.StartTimestamp = w.Pod.Status.StartTime.DeepCopy()
	}
	return Plan{PodName: newPodName(b, w.Pod.Name), Revision: newRevision(b, w.Pod), Status: changed(b, status), Events: phaseEvents(b, status)}
}

// newRevision is what a Build does not say of itself yet.
func newRevision(b *buildv1.Build, pod *corev1.Pod) *buildv1.SourceRevision {
	if b.Spec.Revision != nil {
		return nil
	}
	return revision(pod)
}

// foreign is for a Build in whose way another's pod is. That of an earlier Build of
// this name is about to be removed by the garbage collector.
func foreign(b *buildv1.Build, w World, now time.Time) Plan {
	if len(w.Pod.OwnerReferences) > 0 && now.Sub(b.CreationTimestamp.Time) < goingTime {
		status := b.Status.DeepCopy()
		status.Phase, status.Reason, status.Message = buildv1.BuildPhaseNew, "", ""
		return Plan{Status: changed(b, status), RequeueAfter: goingLook}
	}
	return end(b, nil, outcome{buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodExists, messageBuildPodExists}, now)
}

// cancel removes the pod first: once the Build has ended, nobody looks after it.
func cancel(b *buildv1.Build, w World, own bool, now time.Time) Plan {
	var pod *corev1.Pod
	if own {
		pod = w.Pod
	}
	plan := end(b, pod, outcome{buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild, messageCancelledBuild}, now)
	plan.Status.Cancelled = true
	plan.DeletePod = own && pod.DeletionTimestamp == nil
	return plan
}

// settle completes the record of a Build that has ended, should somebody else have
// ended it, and removes a pod that was made while it was cancelled.
func settle(b *buildv1.Build, w World, own bool, now time.Time) Plan {
	var pod *corev1.Pod
	if own {
		pod = w.Pod
	}
	status := b.Status.DeepCopy()
	switch status.Phase {
	case buildv1.BuildPhaseComplete, buildv1.BuildPhaseFailed:
		if status.CompletionTimestamp == nil || status.Phase == buildv1.BuildPhaseFailed && status.LogSnippet == "" {
			complete(status, b, pod, now)
		}
		return Plan{Status: changed(b, status)}
	case buildv1.BuildPhaseCancelled:
		return Plan{DeletePod: own && pod.DeletionTimestamp == nil && !stopped(pod)}
	default:
		return Plan{}
	}
}

func stopped(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// end gives a Build its last phase.
func end(b *buildv1.Build, pod *corev1.Pod, o outcome, now time.Time) Plan {
	status := b.Status.DeepCopy()
	status.Phase, status.Reason, status.Message = o.phase, o.reason, o.message
	complete(status, b, pod, now)
	return Plan{Status: status, Events: phaseEvents(b, status)}
}

// changed is a status that differs from the Build's; nil for none.
func changed(b *buildv1.Build, status *buildv1.BuildStatus) *buildv1.BuildStatus {
	if reflect.DeepEqual(&b.Status, status) {
		return nil
	}
	return status
}

// oneLine writes joined errors in one line.
func oneLine(err error) string {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return err.Error()
	}
	var texts []string
	for _, e := range joined.Unwrap() {
		texts = append(texts, e.Error())
	}
	return strings.Join(texts, "; ")
}
