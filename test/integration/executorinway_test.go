package integration

import (
	"fmt"
	"testing"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
)

// ahead is a clock that goes before the real one.
type ahead struct {
	clock.RealClock
	by time.Duration
}

// Now implements clock.PassiveClock.
func (a ahead) Now() time.Time { return a.RealClock.Now().Add(a.by) }

// heldPod makes an earlier Build app-1, holds its pod, deletes the Build and makes it
// again, which has that pod in its way.
func (w *buildWorld) heldPod() *corev1.Pod {
	w.t.Helper()
	w.create(w.newBuild("app-1"))
	w.reaches("app-1", buildv1.BuildPhasePending, "")
	w.hold(`["example.com/hold"]`)
	w.kubectl("delete", "build", "app-1")
	w.create(w.newBuild("app-1"))
	return w.pod()
}

func (w *buildWorld) hold(finalizers string) {
	w.t.Helper()
	_, err := w.Admin.Core.CoreV1().Pods(w.namespace).Patch(w.ctx, "app-1-build", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
	must(w.t, err)
}

func (w *buildWorld) pod() *corev1.Pod {
	w.t.Helper()
	pod, err := w.Admin.Core.CoreV1().Pods(w.namespace).Get(w.ctx, "app-1-build", metav1.GetOptions{})
	must(w.t, err)
	return pod
}

// TestBuildPodOfAnEarlierBuild is in the way until the garbage collector has removed it;
// the new Build is New, without a reason, and then gets one of its own.
func TestBuildPodOfAnEarlierBuild(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	earlier := w.heldPod()
	if b := w.reaches("app-1", buildv1.BuildPhaseNew, ""); b.Status.Message != "" || b.UID == earlier.OwnerReferences[0].UID {
		t.Errorf("Build %s, status %+v", b.UID, b.Status)
	}
	eventually(t, settle, "the garbage collector has asked for the pod's end", func() error {
		if w.pod().DeletionTimestamp == nil {
			return fmt.Errorf("pod %s has no deletion timestamp", earlier.UID)
		}
		return nil
	})
	w.hold("[]")
	b := w.reaches("app-1", buildv1.BuildPhasePending, "")
	if own := w.pod(); own.UID == earlier.UID || !metav1.IsControlledBy(own, b) {
		t.Errorf("pod %s of %v, the Build is %s", own.UID, own.OwnerReferences, b.UID)
	}
	w.play("app-1", podSucceeds)
	w.reaches("app-1", buildv1.BuildPhaseComplete, "")
}

// TestBuildPodOfAnEarlierBuildStays: after two minutes the new Build ends, and the pod is
// not for the executor to remove.
func TestBuildPodOfAnEarlierBuildStays(t *testing.T) {
	w := newBuildWorld(t)
	w.Start()
	earlier := w.heldPod()
	defer w.hold("[]") // the namespace is to go
	w.reaches("app-1", buildv1.BuildPhaseNew, "")
	w.stop()
	w.Clock = ahead{by: 3 * time.Minute}
	w.Start()
	if b := w.reaches("app-1", buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodExists); b.Status.Message != "The pod for this build already exists and is older than the build." {
		t.Errorf("status %+v", b.Status)
	}
	if w.pod().UID != earlier.UID {
		t.Error("the pod is another")
	}
	w.toldOf("app-1", "BuildFailed 1")
}

// TestBuildPodOfAUser of the Build's name ends it at once, and is left alone. Without the
// label of a Build's pod the executor meets it when it creates its own.
func TestBuildPodOfAUser(t *testing.T) {
	w := newBuildWorld(t)
	pods := w.Admin.Core.CoreV1().Pods(w.namespace)
	users, err := pods.Create(w.ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "app-1-build"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "x", Image: "registry.example.com/x:1"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	w.Start()
	w.create(w.newBuild("app-1"))
	w.reaches("app-1", buildv1.BuildPhaseError, buildv1.StatusReasonBuildPodExists)
	if got := w.pod(); got.UID != users.UID || got.DeletionTimestamp != nil {
		t.Errorf("pod %s, deleted %v", got.UID, got.DeletionTimestamp)
	}
	w.kubectl("delete", "build", "app-1")
	must(t, pods.Delete(w.ctx, "app-1-build", metav1.DeleteOptions{}))
	eventually(t, settle, "the user's pod is gone", func() error {
		if _, err := pods.Get(w.ctx, "app-1-build", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading it: %w", err)
		}
		return nil
	})
	w.create(w.newBuild("app-1"))
	w.reaches("app-1", buildv1.BuildPhasePending, "")
}
