package integration

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/conformance"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/pod"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// hold is the finalizer that keeps a pod terminating.
const hold = "test.machineosbuilder.io/hold"

func TestPodBackendConforms(t *testing.T) {
	for name, shape := range map[string]func(*buildspec.Request){"OnePod": nil, "APodForEachArchitecture": func(r *buildspec.Request) {
		r.CustomContent, r.Architectures = true, architectures
	}} {
		t.Run(name, func(t *testing.T) { podBackendConforms(t, shape) })
	}
}

func podBackendConforms(t *testing.T, shape func(*buildspec.Request)) {
	conformance.Run(t, func(t *testing.T) conformance.Subject {
		w := newWorld(t)
		w.addPool("worker", "rendered-worker-a1")
		informers, err := kube.NewInformers(w.Admin, namespace)
		must(t, err)
		return conformance.Subject{
			Backend: pod.New(w.Admin.Core, informers, namespace),
			Builder: api.BuilderCustomPod,
			Pool:    buildspec.Pool{Name: "worker", UID: w.pool("worker").UID},
			Begin:   informers.Start,
			Shape:   shape,
			Occupy:  w.occupy,
			Finish: func(_ context.Context, o backend.Observation, digest string) error {
				if shape != nil {
					w.finishParts(o.RenderedConfig, digest)
					return nil
				}
				w.finish("build-"+o.RenderedConfig, buildspec.Result{Succeeded: true, Digest: digest})
				return nil
			},
			Hold: func(ctx context.Context, o backend.Observation) error {
				t.Cleanup(func() { must(t, w.setFinalizers(context.WithoutCancel(ctx), o, nil)) })
				return w.setFinalizers(ctx, o, []string{hold})
			},
			Release: func(ctx context.Context, o backend.Observation) error { return w.setFinalizers(ctx, o, nil) },
			// The API server waits for the kubelet of a pod's node, and none answers here.
			Stall: func(ctx context.Context, o backend.Observation) error {
				return eachPod(o, func(name string) error {
					return w.Admin.Core.CoreV1().Pods(namespace).Bind(ctx, &corev1.Binding{
						ObjectMeta: metav1.ObjectMeta{Name: name},
						Target:     corev1.ObjectReference{Kind: "Node", Name: "lost"},
					}, metav1.CreateOptions{})
				})
			},
		}
	})
}

// eachPod does something to every pod of a run.
func eachPod(o backend.Observation, do func(name string) error) error {
	if len(o.Parts) == 0 {
		return do("build-" + o.RenderedConfig)
	}
	var errs []error
	for _, p := range o.Parts {
		errs = append(errs, do(strings.TrimPrefix(p.Object, "pod/")))
	}
	return errors.Join(errs...)
}

// occupy makes a pod of a build's last name that has nothing to do with builds.
func (w *world) occupy(ctx context.Context, r buildspec.Request) error {
	pods := w.Admin.Core.CoreV1().Pods(namespace)
	all := names.Builds(r.RenderedConfig, r.Architectures)
	name := all[len(all)-1]
	w.t.Cleanup(func() {
		must(w.t, pods.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{}))
	})
	_, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(bool)},
			Containers:      []corev1.Container{{Name: "x", Image: "registry.example.com/x:1"}},
		},
	}, metav1.CreateOptions{})
	return err
}

func (w *world) setFinalizers(ctx context.Context, o backend.Observation, finalizers []string) error {
	pods := w.Admin.Core.CoreV1().Pods(namespace)
	return eachPod(o, func(name string) error {
		return retry.RetryOnConflict(retry.DefaultRetry, func() error {
			p, err := pods.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) && finalizers == nil {
				return nil
			}
			if err != nil {
				return err
			}
			p.Finalizers = finalizers
			_, err = pods.Update(ctx, p, metav1.UpdateOptions{})
			return err
		})
	})
}

// TestInputsDeletedByHand: objects that the garbage collector is about to take
// are not made part of the next build.
func TestInputsDeletedByHand(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	w.patchPool("worker", optIn)
	w.Start()
	first := w.podOf("rendered-worker-a1").UID
	maps := w.Admin.Core.CoreV1().ConfigMaps(namespace)
	must(t, maps.Delete(w.ctx, "mc-rendered-worker-a1", metav1.DeleteOptions{}))
	w.eventually("another pod", func() error {
		if p := w.podOf("rendered-worker-a1"); p.UID == first {
			return apierrors.NewConflict(corev1.Resource("pods"), p.Name, nil)
		}
		return nil
	})
	w.complete("worker", "rendered-worker-a1")
	w.goneSoon("configmap", "mc-rendered-worker-a1")
	if !w.exists("configmap", "digest-rendered-worker-a1") {
		t.Errorf("%s is gone", api.RoleRecord)
	}
}

// TestS23RunDeletedBySomebody: the record says that the run was interrupted,
// the try does not count, and another run follows.
func TestS23RunDeletedBySomebody(t *testing.T) {
	w := newWorld(t)
	const config = "rendered-worker-a1"
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	first := w.podOf(config)
	w.podStatus(first.Name, func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning })
	o := backend.Observation{RenderedConfig: config}
	must(t, w.setFinalizers(w.ctx, o, []string{hold}))
	must(t, w.Admin.Core.CoreV1().Pods(namespace).Delete(w.ctx, first.Name, metav1.DeleteOptions{}))
	w.eventually("the record of the interruption", func() error {
		cm, err := w.Admin.Core.CoreV1().ConfigMaps(namespace).Get(w.ctx, "digest-"+config, metav1.GetOptions{})
		if err != nil {
			return err
		}
		r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
		if err == nil && (r.Reason != api.ReasonBuildInterrupted || r.Attempts != 0 || r.LastRun != first.UID) {
			t.Fatalf("record %+v", r)
		}
		return err
	})
	must(t, w.setFinalizers(w.ctx, o, nil))
	w.verdict("worker", "BuildPending", api.ReasonWaitingForRetry)
	if second := w.podOf(config); second.UID == first.UID || second.Annotations[api.AnnotationAttempt] != "1" {
		t.Errorf("then came %s, try %s", second.UID, second.Annotations[api.AnnotationAttempt])
	}
	w.complete("worker", config)
}
