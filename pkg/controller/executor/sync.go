package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/executor"
)

// sync does one round for one Build.
func (c *Controller) sync(ctx context.Context, key string) (time.Duration, error) {
	b, w, err := c.observe(ctx, key)
	if b == nil || err != nil {
		return 0, err
	}
	b, plan, err := c.decide(ctx, b, w)
	if b == nil || err != nil {
		return 0, err
	}
	klog.FromContext(ctx).V(4).Info("Sync", "phase", b.Status.Phase, "creates", plan.CreatePod != nil, "deletes", plan.DeletePod, "writes", plan.Status != nil)
	if plan.DeletePod {
		if err := c.deletePod(ctx, w.Pod); err != nil {
			return 0, err
		}
	}
	if plan.CreatePod != nil {
		return c.begin(ctx, b, w, plan)
	}
	return plan.RequeueAfter, c.write(ctx, b, plan)
}

// begin creates the pod of a Build, or goes on with the one that exists.
func (c *Controller) begin(ctx context.Context, b *buildv1.Build, w executor.World, plan executor.Plan) (time.Duration, error) {
	options := c.Pod
	options.Mirrors = plan.Mirrors
	pod, err := buildpod.ForBuild(plan.CreatePod, options)
	if err != nil {
		return 0, c.write(ctx, b, executor.NotSpecified(b, err, c.Clock.Now()))
	}
	_, err = c.Clients.Core.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	switch {
	case err == nil:
		return plan.RequeueAfter, c.write(ctx, b, plan)
	case apierrors.IsAlreadyExists(err):
		existing, readErr := c.livePod(ctx, pod.Namespace, pod.Name)
		if readErr != nil {
			return 0, readErr
		}
		if existing == nil {
			return 0, fmt.Errorf("creating pod %q: %w", pod.Name, err)
		}
		w.Pod = existing
		plan = executor.Next(b, w, c.Clock.Now())
		return plan.RequeueAfter, c.write(ctx, b, plan)
	case rejected(err):
		return 0, c.write(ctx, b, executor.Rejected(b, err, c.Clock.Now()))
	case !passes(err):
		if writeErr := c.write(ctx, b, executor.NotCreated(b, err)); writeErr != nil {
			return 0, writeErr
		}
	}
	return 0, fmt.Errorf("creating pod %q: %w", pod.Name, err)
}

// rejected says whether the API server minds a pod for what it is, rather than for what
// there is in the cluster now. A webhook that gives no reason is of the latter kind: its
// answer is a bad request, but for the reason (kubernetes, admission webhook errors).
func rejected(err error) bool {
	reason := apierrors.ReasonForError(err)
	return reason == metav1.StatusReasonInvalid || reason == metav1.StatusReasonBadRequest || apierrors.IsRequestEntityTooLargeError(err)
}

// passes says whether an error tells of nothing that anybody has to mend: the API server
// was not reached, is busy, or somebody else wrote at the same time. A webhook that does
// not answer is an internal error.
func passes(err error) bool {
	var answer apierrors.APIStatus
	if !errors.As(err, &answer) {
		return true
	}
	switch answer.Status().Reason {
	case metav1.StatusReasonTimeout, metav1.StatusReasonServerTimeout, metav1.StatusReasonTooManyRequests, metav1.StatusReasonServiceUnavailable, metav1.StatusReasonConflict:
		return true
	default:
		return false
	}
}

func (c *Controller) deletePod(ctx context.Context, pod *corev1.Pod) error {
	err := c.Clients.Core.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting pod %q: %w", pod.Name, err)
	}
	return nil
}

// write writes a Build as planned, guarded by the version that was decided upon, and
// tells of it.
func (c *Controller) write(ctx context.Context, b *buildv1.Build, plan executor.Plan) error {
	builds := c.Clients.Build.BuildV1().Builds(b.Namespace)
	key := cache.NewObjectName(b.Namespace, b.Name).String()
	patch, err := patchOf(b, plan)
	if err != nil {
		return fmt.Errorf("encoding a patch of Build %q: %w", b.Name, err)
	}
	if patch != nil {
		name, before := b.Name, b.ResourceVersion
		if b, err = builds.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return gone(fmt.Errorf("writing the pod's name or the revision of Build %q: %w", name, err))
		}
		c.superseded.wrote(key, before, b.ResourceVersion)
	}
	if plan.Status == nil {
		return nil
	}
	next := b.DeepCopy()
	next.Status = *plan.Status
	written, err := builds.UpdateStatus(ctx, next, metav1.UpdateOptions{})
	if err != nil {
		return gone(fmt.Errorf("writing the status of Build %q: %w", next.Name, err))
	}
	c.superseded.wrote(key, b.ResourceVersion, written.ResourceVersion)
	if b.Status.Phase != next.Status.Phase {
		klog.FromContext(ctx).Info("Build is "+string(next.Status.Phase), "before", b.Status.Phase, "reason", next.Status.Reason, "message", next.Status.Message)
	}
	for _, e := range plan.Events {
		c.Recorder.Event(next, e.Type, e.Reason, e.Message)
	}
	return nil
}

// patchOf is what of a plan a write of the status would drop; nil for nothing.
func patchOf(b *buildv1.Build, plan executor.Plan) ([]byte, error) {
	if plan.PodName == "" && plan.Revision == nil {
		return nil, nil
	}
	metadata := map[string]any{"uid": b.UID, "resourceVersion": b.ResourceVersion}
	patch := map[string]any{"metadata": metadata}
	if plan.PodName != "" {
		metadata["annotations"] = map[string]string{buildv1.BuildPodNameAnnotation: plan.PodName}
	}
	if plan.Revision != nil {
		patch["spec"] = map[string]any{"revision": plan.Revision}
	}
	return json.Marshal(patch)
}

// gone drops the error of a write to what does not exist any more.
func gone(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
