package pod

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// observe joins the root and the pods of each build; either may be missing.
func observe(roots []*corev1.ConfigMap, pods []*corev1.Pod) []backend.Observation {
	builds := inputs.Join(Kind, roots)
	runs := map[*backend.Observation][]*corev1.Pod{}
	for _, p := range pods {
		o := builds.Of(p.ObjectMeta)
		runs[o] = append(runs[o], p)
	}
	all := builds.All()
	out := make([]backend.Observation, len(all))
	for i, o := range all {
		observeRun(o, runs[o])
		out[i] = *o
	}
	return out
}

// observeRun adds the pods of a run to what is known of its build.
func observeRun(o *backend.Observation, pods []*corev1.Pod) {
	rootDeleting := o.Deleting
	if slices.ContainsFunc(pods, isPart) {
		observeParts(o, pods, rootDeleting)
		return
	}
	for _, p := range pods {
		o.RunDeleting = p.DeletionTimestamp != nil && !rootDeleting
		o.Deleting = o.Deleting || p.DeletionTimestamp != nil
		observePod(o, p)
	}
}

// observePods is observe for the pods of at most one build; nil for none.
func observePods(pods ...*corev1.Pod) *backend.Observation {
	pods = slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return p == nil })
	if len(pods) == 0 {
		return nil
	}
	return &observe(nil, pods)[0]
}

func observePod(o *backend.Observation, p *corev1.Pod) {
	inputs.ReadRun(o, p.ObjectMeta)
	if p.DeletionTimestamp != nil {
		o.GoneBy = p.DeletionTimestamp.Time
	}
	if p.Status.StartTime != nil {
		o.Started = p.Status.StartTime.Time
	}
	o.Timeout = time.Duration(ptr.Deref(p.Spec.ActiveDeadlineSeconds, 0)) * time.Second
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		o.Phase = backend.PhaseSucceeded
		observeResult(o, p)
	case corev1.PodFailed:
		observeFailure(o, p)
	case corev1.PodRunning:
		o.Phase = backend.PhaseRunning
	default:
		o.Phase = pendingPhase(p)
		if o.Phase == backend.PhasePending {
			o.Message = trouble(p)
		}
	}
}

// pendingPhase tells apart what Kubernetes calls Pending: init containers run
// in that phase.
func pendingPhase(p *corev1.Pod) backend.Phase {
	phase := backend.PhasePending
	for _, c := range p.Status.InitContainerStatuses {
		if c.State.Running == nil && c.State.Terminated == nil {
			continue
		}
		if c.Name == api.ContainerPrepare && phase == backend.PhasePending {
			phase = backend.PhasePreparing
		}
		if c.Name == api.ContainerBuild {
			phase = backend.PhaseRunning
		}
	}
	return phase
}

// lasting are the reasons of a waiting container that do not pass by
// themselves (kubelet, pkg/kubelet/images and pkg/kubelet/kuberuntime).
var lasting = []string{
	"ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
	"CreateContainerConfigError", "CreateContainerError",
}

// trouble says what a pending pod waits for that may need somebody to act.
func trouble(p *corev1.Pod) string {
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && slices.Contains(lasting, w.Reason) {
			return fmt.Sprintf("container %s with image %s: %s: %s", c.Name, c.Image, w.Reason, w.Message)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return c.Message + claimRemedy(p, c.Message)
		}
	}
	return ""
}

// ofClaims are in what the scheduler says where something is wrong with a claim or its volume
// (pkg/scheduler/framework/plugins/volumebinding), in lower case.
var ofClaims = []string{"persistentvolume", "persistent volume", "pvc(s)"}

// inUse is in what it says of a ReadWriteOncePod claim that another pod has, which passes.
const inUse = "already in-use"

// claimRemedy says what to do where the scheduler finds something wrong with a claim: a build
// pod has that of the settings alone. A pod of the settings before does not go by itself.
func claimRemedy(p *corev1.Pod, message string) string {
	message = strings.ToLower(message)
	says := func(part string) bool { return strings.Contains(message, part) }
	if says(inUse) || !slices.ContainsFunc(ofClaims, says) {
		return ""
	}
	return fmt.Sprintf("; the claim is that of key %s in ConfigMap/%s: let it exist in this namespace and have a volume that a node for builds can mount, or leave the key out and delete pod/%s",
		api.KeyBuildStoragePVC, api.ConfigMapBuildConfig, p.Name)
}

// resultContainer is the only container whose result may name a digest: no
// step of the user's runs in it.
func resultContainer(p *corev1.Pod) string {
	for _, c := range p.Spec.InitContainers {
		if c.Name == api.ContainerBuild {
			return api.ContainerPush
		}
	}
	return api.ContainerBuild
}

func observeResult(o *backend.Observation, p *corev1.Pod) {
	for _, c := range p.Status.ContainerStatuses {
		t := c.State.Terminated
		if c.Name != resultContainer(p) || t == nil {
			continue
		}
		o.Finished = t.FinishedAt.Time
		result, err := buildspec.ParseResult(t.Message)
		if err != nil {
			o.Message = err.Error()
			return
		}
		o.Result = result
		believeBase(o, p)
	}
}

// believeBase takes the base's digest from the container that resolved it. Those
// after it have it from the volume that it wrote and that they only read: what
// they say of it is at best the same, and one of them runs the user's steps.
func believeBase(o *backend.Observation, p *corev1.Pod) {
	if resultContainer(p) == api.ContainerBuild {
		return
	}
	o.Result.BaseDigest = ""
	for _, c := range p.Status.InitContainerStatuses {
		if t := c.State.Terminated; t != nil && c.Name == api.ContainerPrepare {
			// Of a message that is no result, the digest stays empty.
			result, _ := buildspec.ParseResult(t.Message)
			o.Result.BaseDigest = result.BaseDigest
		}
	}
}
