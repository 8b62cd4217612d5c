package integration

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	buildv1 "github.com/openshift/api/build/v1"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/conformance"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/openshiftbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

func TestBuildBackendConforms(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Subject {
		w := newWorld(t)
		w.addPool("worker", "rendered-worker-a1")
		informers, err := kube.NewInformers(w.Admin, namespace)
		must(t, err)
		return conformance.Subject{
			Backend: openshiftbuild.New(w.Admin, informers, namespace),
			Builder: api.BuilderOpenShift,
			Pool:    buildspec.Pool{Name: "worker", UID: w.pool("worker").UID},
			Begin:   informers.Start,
			Shape: func(r *buildspec.Request) {
				r.Dockerfile = "FROM registry.example.com/os/base:1 AS configs\nADD machine-config.tar /\nFROM configs AS final\n"
			},
			Occupy: func(ctx context.Context, r buildspec.Request) error {
				builds := w.Admin.Build.BuildV1().Builds(namespace)
				name := names.Build(r.RenderedConfig)
				t.Cleanup(func() { must(t, builds.Delete(context.WithoutCancel(ctx), name, metav1.DeleteOptions{})) })
				_, err := builds.Create(ctx, &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
				return err
			},
			Finish: func(_ context.Context, o backend.Observation, digest string) error {
				w.buildStatus(names.Build(o.RenderedConfig), func(s *buildv1.BuildStatus) { complete(s, digest) })
				return nil
			},
			Hold: func(ctx context.Context, o backend.Observation) error {
				t.Cleanup(func() { must(t, w.holdBuild(context.WithoutCancel(ctx), o, nil)) })
				return w.holdBuild(ctx, o, []string{hold})
			},
			Release: func(ctx context.Context, o backend.Observation) error { return w.holdBuild(ctx, o, nil) },
			Stall:   w.stallBuild,
		}
	})
}

// complete is what a Build says that pushed an image.
func complete(s *buildv1.BuildStatus, digest string) {
	now := metav1.Now()
	s.Phase, s.StartTimestamp, s.CompletionTimestamp = buildv1.BuildPhaseComplete, &now, &now
	s.Output.To = &buildv1.BuildStatusOutputTo{ImageDigest: digest}
}

// buildStatus changes the status of a Build, as its controller would.
func (w *world) buildStatus(name string, change func(*buildv1.BuildStatus)) {
	w.t.Helper()
	builds := w.Admin.Build.BuildV1().Builds(namespace)
	must(w.t, retry.RetryOnConflict(retry.DefaultRetry, func() error {
		b, err := builds.Get(w.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(&b.Status)
		_, err = builds.UpdateStatus(w.ctx, b, metav1.UpdateOptions{})
		return err
	}))
}

func (w *world) holdBuild(ctx context.Context, o backend.Observation, finalizers []string) error {
	builds := w.Admin.Build.BuildV1().Builds(namespace)
	return retry.RetryOnConflict(retry.DefaultRetry, func() error {
		b, err := builds.Get(ctx, names.Build(o.RenderedConfig), metav1.GetOptions{})
		if apierrors.IsNotFound(err) && finalizers == nil {
			return nil
		}
		if err != nil {
			return err
		}
		b.Finalizers = finalizers
		_, err = builds.Update(ctx, b, metav1.UpdateOptions{})
		return err
	})
}

// stallBuild gives a Build a pod on a node that does not answer.
func (w *world) stallBuild(ctx context.Context, o backend.Observation) error {
	build := names.Build(o.RenderedConfig)
	owned := true
	pods := w.Admin.Core.CoreV1().Pods(namespace)
	_, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: names.BuildPod(build), Labels: map[string]string{buildv1.BuildLabel: names.BuildLabel(build)},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: buildv1.GroupVersion.String(), Kind: "Build", Name: build, UID: o.UID, Controller: &owned, BlockOwnerDeletion: &owned}},
		},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(bool)},
			Containers:      []corev1.Container{{Name: "x", Image: "registry.example.com/x:1"}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return pods.Bind(ctx, &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: names.BuildPod(build)}, Target: corev1.ObjectReference{Kind: "Node", Name: "lost"}}, metav1.CreateOptions{})
}

// buildOf waits for the Build of a config.
func (w *world) buildOf(config string) *buildv1.Build {
	w.t.Helper()
	var b *buildv1.Build
	w.eventually("the Build of "+config, func() (err error) {
		b, err = w.Admin.Build.BuildV1().Builds(namespace).Get(w.ctx, names.Build(config), metav1.GetOptions{})
		return err
	})
	return b
}

// pushAs puts an image of a build's inputs into the registry and returns its digest.
func (w *world) pushAs(config, inputs string) string {
	w.t.Helper()
	return w.pushImage(config, inputs, nil)
}

func (w *world) pushImage(config, inputs string, annotations map[string]string) string {
	w.t.Helper()
	image, err := random.Image(64, 1)
	must(w.t, err)
	image, err = mutate.Config(image, v1.Config{Labels: map[string]string{api.ImageLabelInputsHash: inputs}})
	must(w.t, err)
	annotated, ok := mutate.Annotations(image, annotations).(v1.Image)
	if !ok {
		w.t.Fatal("an annotated image is none")
	}
	ref, err := name.ParseReference(w.Registry + ":" + config)
	must(w.t, err)
	must(w.t, remote.Write(ref, annotated, remote.WithTransport(w.transport)))
	digest, err := annotated.Digest()
	must(w.t, err)
	return digest.String()
}

// newWorldWithBuild has a pool that is opted in, and the Build of its config.
func newWorldWithBuild(t *testing.T, config string) (*world, *buildv1.Build) {
	t.Helper()
	w := newWorld(t)
	w.builds = true
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	return w, w.buildOf(config)
}

// TestPoolBuiltByABuild: from the label to the digest, and what is left.
func TestPoolBuiltByABuild(t *testing.T) {
	const config = "rendered-worker-a1"
	w, b := newWorldWithBuild(t, config)
	if w.exists("pod", "build-"+config) {
		t.Error("there is a pod besides")
	}
	if to := b.Spec.Output.To; to == nil || to.Kind != "DockerImage" || to.Name != w.Registry+":"+config {
		t.Errorf("pushed to %+v", to)
	}
	w.buildStatus(b.Name, func(s *buildv1.BuildStatus) { s.Phase = buildv1.BuildPhaseRunning })
	w.verdict("worker", mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning)
	digest := w.pushAs(config, b.Annotations[api.AnnotationInputsHash])
	w.buildStatus(b.Name, func(s *buildv1.BuildStatus) { complete(s, digest) })
	w.annotated("worker", config, digest)
	w.eventually("the Build is gone", func() error {
		_, err := w.Admin.Build.BuildV1().Builds(namespace).Get(w.ctx, b.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
	objects := slices.DeleteFunc(w.Requests.Writes(), func(write string) bool { return strings.HasSuffix(write, "/events") })
	if len(objects) > 10 {
		t.Errorf("%d writes of objects for one build, want at most 10: %q", len(objects), objects)
	}
}

// TestS13BuildWithoutADigest is a failure that says so.
func TestS13BuildWithoutADigest(t *testing.T) {
	w := newWorld(t)
	w.builds = true
	const config = "rendered-worker-a1"
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyMaxBuildRetries: "0"})
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	w.buildStatus(w.buildOf(config).Name, func(s *buildv1.BuildStatus) { complete(s, "") })
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonUnconfirmedDigest)
}

// TestCancelledBuild is not tried again until somebody asks for it.
func TestCancelledBuild(t *testing.T) {
	const config = "rendered-worker-a1"
	w, b := newWorldWithBuild(t, config)
	w.buildStatus(b.Name, func(s *buildv1.BuildStatus) {
		now := metav1.Now()
		s.Phase, s.Reason, s.Message = buildv1.BuildPhaseCancelled, buildv1.StatusReasonCancelledBuild, "The build was cancelled by the user."
		s.Cancelled, s.StartTimestamp, s.CompletionTimestamp = true, &now, &now
	})
	if message := w.verdict("worker", mcfgv1.MachineConfigPoolBuildFailed, api.ReasonBuildCancelled); !strings.Contains(message, api.AnnotationRebuild) {
		t.Errorf("message %q", message)
	}
	w.patchPool("worker", fmt.Sprintf(`{"metadata":{"annotations":{%q:"1"}}}`, api.AnnotationRebuild))
	w.eventually("another Build", func() error {
		again, err := w.Admin.Build.BuildV1().Builds(namespace).Get(w.ctx, b.Name, metav1.GetOptions{})
		if err == nil && again.UID == b.UID {
			return errors.New("it is the same")
		}
		return err
	})
	b = w.buildOf(config)
	digest := w.pushAs(config, b.Annotations[api.AnnotationInputsHash])
	w.buildStatus(b.Name, func(s *buildv1.BuildStatus) { complete(s, digest) })
	w.annotated("worker", config, digest)
}

// TestS10BuilderChanges: while a build runs it is stopped and begun again by the
// other builder; between two builds the next one is that one's.
func TestS10BuilderChanges(t *testing.T) {
	w := newWorld(t)
	w.builds = true
	const config, next = "rendered-worker-a1", "rendered-worker-b2"
	settings := func(builder string) {
		w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyImageBuilderType: builder})
	}
	settings(api.BuilderOpenShift)
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	b := w.buildOf(config)
	w.buildStatus(b.Name, func(s *buildv1.BuildStatus) { s.Phase = buildv1.BuildPhaseRunning })
	settings(api.BuilderCustomPod)
	w.podOf(config)
	if _, err := w.Admin.Build.BuildV1().Builds(namespace).Get(w.ctx, b.Name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the Build is there beside the pod: %v", err)
	}
	w.complete("worker", config)
	settings(api.BuilderOpenShift)
	w.addConfig(next, "bye")
	w.patchPool("worker", fmt.Sprintf(`{"spec":{"configuration":{"name":%q}}}`, next))
	b = w.buildOf(next)
	digest := w.pushAs(next, b.Annotations[api.AnnotationInputsHash])
	w.buildStatus(b.Name, func(s *buildv1.BuildStatus) { complete(s, digest) })
	w.annotated("worker", next, digest)
}

// TestS37BuildsAppear: the controller starts on a cluster without Builds, and uses
// them once there are some.
func TestS37BuildsAppear(t *testing.T) {
	cluster, err := controlplane.Start(t.Context(), t.TempDir(), filepath.Join("..", "..", "manifests", "overlays", "kubernetes"))
	must(t, err)
	defer cluster.Stop()
	config, err := cluster.ServiceAccount(t.Context(), namespace, "machine-os-builder")
	must(t, err)
	clients, err := kube.NewClients(config)
	must(t, err)
	informers, err := kube.NewInformers(clients, namespace)
	must(t, err)
	changes := make(chan bool, 8)
	informers.Builds.OnServed(func() { changes <- informers.Builds.Served() })
	must(t, informers.Start(t.Context()))
	if informers.Builds.Served() {
		t.Fatal("a cluster without Builds is said to have them")
	}
	for _, row := range []struct {
		verb string
		want bool
	}{{"apply", true}, {"delete", false}, {"apply", true}} {
		_, err = cluster.Kubectl(t.Context(), "", row.verb, "-k", filepath.Join("..", "..", "manifests", "builds", "crd"))
		must(t, err)
		select {
		case served := <-changes:
			if served != row.want {
				t.Fatalf("after %s they are served: %t", row.verb, served)
			}
		case <-time.After(2 * settle):
			t.Fatalf("%s was not noticed", row.verb)
		}
	}
}
