package openshiftbuild

import (
	"fmt"
	"strings"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// podGrace is how long the pod of a Build that was asked to go may take to stop, at
// most: Kubernetes' default.
const podGrace = 30 * time.Second

// observe joins the root and the Build of each build; either may be missing. runs are
// what was started last, by the UIDs of roots.
func observe(roots []*corev1.ConfigMap, runs map[types.UID]types.UID, builds []*buildv1.Build) []backend.Observation {
	joined := inputs.Join(Kind, roots)
	for _, root := range roots {
		joined.Of(root.ObjectMeta).Gone = runs[root.UID]
	}
	for _, build := range builds {
		if !inputs.IsRun(build.ObjectMeta) {
			continue
		}
		o := joined.Of(build.ObjectMeta)
		o.Gone = ""
		o.RunDeleting = build.DeletionTimestamp != nil && !o.Deleting
		o.Deleting = o.Deleting || build.DeletionTimestamp != nil
		observeBuild(o, build)
	}
	all := joined.All()
	out := make([]backend.Observation, len(all))
	for i, o := range all {
		out[i] = *o
	}
	return out
}

// observeOne is observe for at most one Build; nil for none.
func observeOne(build *buildv1.Build) *backend.Observation {
	if build == nil || !inputs.IsRun(build.ObjectMeta) {
		return nil
	}
	return &observe(nil, nil, []*buildv1.Build{build})[0]
}

func observeBuild(o *backend.Observation, build *buildv1.Build) {
	inputs.ReadRun(o, build.ObjectMeta)
	if build.DeletionTimestamp != nil {
		o.GoneBy = build.DeletionTimestamp.Add(podGrace)
	}
	status := build.Status
	if status.StartTimestamp != nil {
		o.Started = status.StartTimestamp.Time
	}
	o.Timeout = time.Duration(ptr.Deref(build.Spec.CompletionDeadlineSeconds, 0)) * time.Second
	switch status.Phase {
	case "":
		o.Phase = backend.PhasePending
		o.Message = "no controller of Builds has taken it up yet; where none runs, install build-executor, or let " +
			api.KeyImageBuilderType + " be " + api.BuilderCustomPod
	case buildv1.BuildPhaseNew, buildv1.BuildPhasePending:
		o.Phase = backend.PhasePending
		o.Message = said(status)
	case buildv1.BuildPhaseRunning:
		o.Phase = backend.PhaseRunning
	case buildv1.BuildPhaseComplete:
		o.Phase = backend.PhaseSucceeded
		observeResult(o, status)
	default:
		observeFailure(o, build)
	}
	if status.CompletionTimestamp != nil && !o.Phase.Active() {
		o.Finished = status.CompletionTimestamp.Time
	}
}

// said is a reason with its message; empty for neither.
func said(status buildv1.BuildStatus) string {
	return strings.TrimLeft(string(status.Reason)+": "+status.Message, ": ")
}

func observeResult(o *backend.Observation, status buildv1.BuildStatus) {
	if to := status.Output.To; to != nil && to.ImageDigest != "" {
		o.Result = buildspec.Result{Succeeded: true, Digest: to.ImageDigest}
		return
	}
	o.Message = "its status.output.to.imageDigest is empty"
}

// reasons are those of a Build that say more than that it failed.
var reasons = map[buildv1.StatusReason]string{
	buildv1.StatusReasonOutOfMemoryKilled:         api.ReasonOutOfMemory,
	buildv1.StatusReasonPullBuilderImageFailed:    api.ReasonPullFailed,
	buildv1.StatusReasonFetchImageContentFailed:   api.ReasonPullFailed,
	buildv1.StatusReasonPushImageToRegistryFailed: api.ReasonPushFailed,
	// We delete a Build and never cancel one, so that somebody else did.
	buildv1.StatusReasonCancelledBuild: api.ReasonBuildCancelled,
}

// observeFailure names what ended a Build: the cluster, a limit, or the build.
func observeFailure(o *backend.Observation, build *buildv1.Build) {
	status := build.Status
	o.Phase, o.Reason, o.Message = backend.PhaseFailed, api.ReasonBuildFailed, said(status)
	if status.LogSnippet != "" {
		o.Log = strings.Split(status.LogSnippet, "\n")
	}
	if reason, found := reasons[status.Reason]; found {
		o.Reason = reason
	}
	switch {
	case status.Reason == buildv1.StatusReasonBuildPodDeleted,
		status.Reason == buildv1.StatusReasonBuildPodEvicted && !overLimit(status.Message):
		o.Phase, o.Reason = backend.PhaseInterrupted, api.ReasonBuildInterrupted
	case status.Reason == buildv1.StatusReasonBuildPodEvicted:
		o.Reason = api.ReasonOutOfStorage
		o.Message = fmt.Sprintf("%s; write less in the Dockerfile, or raise limits.ephemeral-storage in %s of ConfigMap %s",
			strings.TrimRight(o.Message, ". "), api.KeyBuildPodResources, api.ConfigMapBuildConfig)
	case o.Reason == api.ReasonOutOfMemory:
		o.Message = fmt.Sprintf("%s; raise limits.memory with %s", strings.TrimRight(o.Message, ". "), api.KeyBuildPodResources)
	case timedOut(build):
		o.Reason = api.ReasonBuildTimedOut
		o.Message = fmt.Sprintf("the build did not end within %s=%ds", api.KeyBuildTimeout, *build.Spec.CompletionDeadlineSeconds)
	}
}

// overLimit tells an eviction for a limit of the build's own from one because the
// node ran out of something: a Build's status has the kubelet's words alone
// (pkg/kubelet/eviction, helpers.go).
func overLimit(message string) bool {
	return strings.Contains(message, "exceed") && !strings.Contains(message, "node was low on")
}

// timedOut: a Build has no reason for it. build-executor's message tells; OpenShift's
// does not, so its times have to, of which the first is the kubelet's and the last the
// controller's.
func timedOut(build *buildv1.Build) bool {
	status, limit := build.Status, build.Spec.CompletionDeadlineSeconds
	if status.Reason != buildv1.StatusReasonGenericBuildFailed || limit == nil {
		return false
	}
	return strings.HasPrefix(status.Message, api.MessageDeadlineExceeded) ||
		status.StartTimestamp != nil && status.CompletionTimestamp != nil &&
			status.CompletionTimestamp.Sub(status.StartTimestamp.Time) >= time.Duration(*limit)*time.Second
}
