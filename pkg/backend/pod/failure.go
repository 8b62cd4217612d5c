package pod

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Reasons in a pod's status. Those without a constant in k8s.io/api are the
// kubelet's (pkg/kubelet/eviction, pkg/kubelet/nodeshutdown) and the node
// lifecycle controller's.
const (
	podDeadlineExceeded  = "DeadlineExceeded"
	containerOOMKilled   = "OOMKilled"
	podEvicted           = "Evicted"
	podPreempting        = "Preempting"
	podNodeLost          = "NodeLost"
	podNodeShutdown      = "Terminated"
	podNodeShutdownOlder = "Shutdown"
	podNodeAffinity      = "NodeAffinity"
	podUnexpected        = "UnexpectedAdmissionError"
	podOutOfPods         = "OutOfpods"
	podOutOfCPU          = "OutOfcpu"
	podOutOfMemory       = "OutOfmemory"
)

var interruptions = []string{
	podEvicted, podPreempting, podNodeLost, podNodeShutdown, podNodeShutdownOlder,
	podNodeAffinity, podUnexpected, podOutOfPods, podOutOfCPU, podOutOfMemory,
}

// nodeLowOnDisk is in the kubelet's message where the node's disk was full
// (pkg/kubelet/eviction, helpers.go).
const nodeLowOnDisk = "low on resource: ephemeral-storage"

// exitKilled is the exit code of a process ended by SIGKILL.
const exitKilled = 137

// observeFailure names what ended a pod: the cluster, a limit, or the build.
func observeFailure(o *backend.Observation, p *corev1.Pod) {
	o.Phase, o.Reason = backend.PhaseFailed, api.ReasonBuildFailed
	failed := failedContainer(p)
	if failed != nil {
		o.Finished = failed.State.Terminated.FinishedAt.Time
	}
	switch {
	case p.Status.Reason == podDeadlineExceeded:
		o.Reason = api.ReasonBuildTimedOut
		o.Message = fmt.Sprintf("the build did not end within %s", api.KeyBuildTimeout)
		if s := p.Spec.ActiveDeadlineSeconds; s != nil {
			o.Message += fmt.Sprintf("=%ds", *s)
		}
	case p.Status.Reason == podEvicted && failed != nil && !disrupted(p):
		// The kubelet marks the evictions that are no fault of the pod's.
		o.Reason = api.ReasonOutOfStorage
		o.Message = fmt.Sprintf("%s; write less in the Dockerfile, or raise limits.ephemeral-storage in %s of ConfigMap %s, which limits each emptyDir too",
			strings.TrimRight(p.Status.Message, ". "), api.KeyBuildPodResources, api.ConfigMapBuildConfig)
	case slices.Contains(interruptions, p.Status.Reason) || disrupted(p):
		o.Phase, o.Reason = backend.PhaseInterrupted, api.ReasonBuildInterrupted
		o.Message = strings.TrimSpace(p.Status.Reason + " " + p.Status.Message)
		switch {
		case o.Message == "":
			o.Message = "the cluster ended the pod"
		case strings.Contains(o.Message, nodeLowOnDisk):
			o.Message = fmt.Sprintf("%s; if the build itself filled the node, let it end for that: set limits.ephemeral-storage in %s of ConfigMap %s below what the node has, which limits each emptyDir too (%s where it is not set)",
				strings.TrimRight(o.Message, ". "), api.KeyBuildPodResources, api.ConfigMapBuildConfig, buildpod.DefaultVolumeLimit)
		}
	case failed == nil:
		o.Message = strings.TrimSpace("the pod failed: " + p.Status.Reason + " " + p.Status.Message)
	default:
		describe(o, p, failed)
	}
}

func describe(o *backend.Observation, p *corev1.Pod, c *corev1.ContainerStatus) {
	t := c.State.Terminated
	if t.Reason == containerOOMKilled {
		o.Reason = api.ReasonOutOfMemory
		o.Message = fmt.Sprintf("container %s ran out of memory (limit %s); raise it with %s", c.Name, memoryLimit(p, c.Name), api.KeyBuildPodResources)
		return
	}
	result, err := buildspec.ParseResult(t.Message)
	theirs := runsSteps(p, c.Name)
	if theirs {
		result.Message = oneLine(result.Message)
		result.Digest, result.Member, result.Members = "", "", nil
		result.Timings, result.BytesPulled, result.BytesPushed = possible(result.Timings, t), 0, 0
	}
	if err != nil || result.Succeeded || theirs && result.Message == "" {
		o.Message = fmt.Sprintf("container %s exited with %d before it could say why", c.Name, t.ExitCode)
		if t.ExitCode == exitKilled {
			o.Message += " (killed)"
		}
		o.Log = tail(t.Message)
		return
	}
	o.Result, o.Log = result, result.Log
	believeBase(o, p)
	// That packages are missing is no step's to say, but who says so falsely ends no
	// more than their own build.
	if result.Reason != "" && !theirs || result.Reason == api.ReasonExtensionsFailed {
		o.Reason = result.Reason
	}
	if o.Reason == api.ReasonBuildInterrupted {
		o.Phase = backend.PhaseInterrupted
	}
	// It names the step, its line and its exit code, where a step failed.
	o.Message = result.Message
}

// runsSteps is true of a container in which steps of the user's run: one of
// them can write its message, or stop it, so that it has no say in whether the
// try counts.
func runsSteps(p *corev1.Pod, container string) bool {
	return container == api.ContainerBuild && len(p.Spec.InitContainers) > 0
}

// possible leaves out what a container cannot have taken: a step of the user's may have
// written it.
func possible(timings []buildspec.Timing, t *corev1.ContainerStateTerminated) []buildspec.Timing {
	// The kubelet tells whole seconds.
	most := t.FinishedAt.Sub(t.StartedAt.Time) + time.Second
	return slices.DeleteFunc(timings, func(timing buildspec.Timing) bool {
		return timing.Seconds < 0 || timing.Seconds > most.Seconds() || !timingForm.MatchString(timing.Name)
	})
}

// timingForm is that of the builder's names of what it does.
var timingForm = regexp.MustCompile(`^[a-z]{1,20}$`)

// oneLine joins the lines of a message that a step of the user's may have
// written: in a condition, the next line says what to do, and is ours.
func oneLine(message string) string {
	return strings.Join(strings.FieldsFunc(message, func(r rune) bool {
		return strings.ContainsRune("\n\r\v\f\u0085\u2028\u2029", r)
	}), " ")
}

func failedContainer(p *corev1.Pod) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range list {
			if t := list[i].State.Terminated; t != nil && t.ExitCode != 0 {
				return &list[i]
			}
		}
	}
	return nil
}

func disrupted(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
	})
}

func memoryLimit(p *corev1.Pod, container string) string {
	for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
		if limit, ok := c.Resources.Limits[corev1.ResourceMemory]; ok && c.Name == container {
			return limit.String()
		}
	}
	return "of the node"
}

// tail is what the kubelet gave in place of a result: the end of the log.
func tail(message string) []string {
	message = strings.TrimSpace(message)
	if message == "" {
		return nil
	}
	return strings.Split(message, "\n")
}
