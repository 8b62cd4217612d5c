package executor

import (
	"fmt"
	"regexp"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// Reasons that the kubelet gives (kubernetes, pkg/kubelet and pkg/kubelet/eviction).
const (
	podOOMKilled        = "OOMKilled"
	podEvicted          = "Evicted"
	podDeadlineExceeded = "DeadlineExceeded"
)

// outcome is where a Build stands by its pod.
type outcome struct {
	phase   buildv1.BuildPhase
	reason  buildv1.StatusReason
	message string
}

// outcomeOf reads the state of a Build's own pod.
func outcomeOf(b *buildv1.Build, w World) outcome {
	pod := w.Pod
	switch pod.Status.Phase {
	case corev1.PodRunning:
		return outcome{phase: buildv1.BuildPhaseRunning}
	case corev1.PodSucceeded:
		return succeeded(pod)
	case corev1.PodFailed:
		return failed(b, pod)
	default:
		if !waits(pod) {
			// The steps are init containers: while they run the pod counts as Pending.
			return outcome{phase: buildv1.BuildPhaseRunning}
		}
		for _, name := range pushSecret(b) {
			if w.Secrets[name] == nil {
				return outcome{buildv1.BuildPhasePending, buildv1.StatusReasonMissingPushSecret, messageMissingPushSecret}
			}
		}
		return outcome{phase: buildv1.BuildPhasePending}
	}
}

// waits says whether a pod has not started any container.
func waits(pod *corev1.Pod) bool {
	switch pod.Status.Phase {
	case "", corev1.PodPending, corev1.PodUnknown:
		return !slices.ContainsFunc(pod.Status.InitContainerStatuses, func(c corev1.ContainerStatus) bool {
			return c.State.Running != nil || c.State.Terminated != nil
		})
	default:
		return false
	}
}

func succeeded(pod *corev1.Pod) outcome {
	if len(pod.Status.ContainerStatuses) == 0 {
		return outcome{buildv1.BuildPhaseError, buildv1.StatusReasonNoBuildContainerStatus, messageNoBuildContainerStatus}
	}
	if c := failure(pod); c != nil {
		return outcome{buildv1.BuildPhaseError, buildv1.StatusReasonFailedContainer, messageFailedContainer}
	}
	return outcome{phase: buildv1.BuildPhaseComplete}
}

// failed puts what was done to the pod before what its containers say of it, who
// may only have noticed that they were stopped.
func failed(b *buildv1.Build, pod *corev1.Pod) outcome {
	end := func(reason buildv1.StatusReason, message string) outcome {
		return outcome{buildv1.BuildPhaseFailed, reason, message}
	}
	switch {
	case outOfMemory(pod):
		return end(buildv1.StatusReasonOutOfMemoryKilled, messageOutOfMemoryKilled)
	case pod.Status.Reason == podEvicted:
		return end(buildv1.StatusReasonBuildPodEvicted, pod.Status.Message)
	case pod.DeletionTimestamp != nil:
		return outcome{buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodDeleted, messageBuildPodDeleted}
	case pod.Status.Reason == podDeadlineExceeded:
		return end(buildv1.StatusReasonGenericBuildFailed, fmt.Sprintf(messageDeadline, Deadline(b)))
	}
	if c := failure(pod); c != nil && c.reported && reasonForm.MatchString(string(c.report.Reason)) {
		return end(c.report.Reason, reportedMessage(c.report))
	}
	if pod.Status.Reason != "" || pod.Status.Message != "" {
		return end(buildv1.StatusReasonGenericBuildFailed, fmt.Sprintf("%s The pod ended with %q: %s", messageGenericBuildFailed, pod.Status.Reason, pod.Status.Message))
	}
	return end(buildv1.StatusReasonGenericBuildFailed, messageGenericBuildFailed)
}

// reasonForm is that of the API's reasons.
var reasonForm = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,99}$`)

// maxMessage is the longest message of a container that a status takes over.
const maxMessage = 1024

func reportedMessage(r buildreport.Report) string {
	if r.Message == "" {
		return messageGenericBuildFailed
	}
	text := []rune(redact.New().Text(r.Message))
	return string(text[:min(len(text), maxMessage)])
}

func outOfMemory(pod *corev1.Pod) bool {
	return pod.Status.Reason == podOOMKilled || slices.ContainsFunc(containers(pod), func(c container) bool { return c.end.Reason == podOOMKilled })
}

// container is one that has ended.
type container struct {
	name     string
	end      corev1.ContainerStateTerminated
	report   buildreport.Report
	reported bool
}

// containers are those of a pod that have ended, in the order that they ran.
func containers(pod *corev1.Pod) []container {
	var all []container
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if s.State.Terminated == nil {
			continue
		}
		report, err := buildreport.Parse(s.State.Terminated.Message)
		all = append(all, container{s.Name, *s.State.Terminated, report, err == nil})
	}
	return all
}

// failure is the first container that failed; nil when none has.
func failure(pod *corev1.Pod) *container {
	for _, c := range containers(pod) {
		if c.end.ExitCode != 0 {
			return &c
		}
	}
	return nil
}

// digestForm is that of the digests that registries confirm (OCI image specification,
// descriptor).
var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// pushed is the digest of the image that a pod has pushed; "" for none. Only the
// container that runs nothing of the user's knows it.
func pushed(pod *corev1.Pod) string {
	for _, c := range containers(pod) {
		if c.name == api.ContainerPush && c.reported && c.report.Succeeded && digestForm.MatchString(c.report.Digest) {
			return c.report.Digest
		}
	}
	return ""
}

// revision is the commit that a pod has fetched; nil while it has not.
func revision(pod *corev1.Pod) *buildv1.SourceRevision {
	for _, c := range containers(pod) {
		if c.name == api.ContainerGitClone && c.reported {
			return c.report.Revision
		}
	}
	return nil
}
