package integration

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	ocireg "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgscheme "github.com/openshift/client-go/machineconfiguration/clientset/versioned/scheme"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/chosen"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/openshiftbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/pod"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/basepoll"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/poolstatus"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/render"
	"github.com/machine-os-builder/machine-os-builder/pkg/controller/retention"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

const namespace = api.DefaultNamespace

// settle is how long anything may take before a test gives up.
const settle = 30 * time.Second

// world is one test's view of a control plane: its clients, its registry, and the
// controller under test.
type world struct {
	t        *testing.T
	ctx      context.Context
	plane    *controlplane.ControlPlane
	Admin    kube.Clients
	Registry string // host:port/repository
	Requests *counter
	// resolve says what the tag of a base image names; nil asks its registry.
	resolve func(ctx context.Context, pullspec string, o registry.Options) (string, error)
	// members says which images are in the index that it names; nil asks its registry.
	members func(ctx context.Context, pullspec string, o registry.Options) ([]string, error)
	// convert is for configs of Ignition's spec 2; nil for the real way.
	convert ignition.Converter
	// wrap stands between the controller and the API server; nil for nothing.
	wrap func(http.RoundTripper) http.RoundTripper
	// lastWrite is how many writes of the controller get through; 0 for all.
	lastWrite int
	// settleTime is that of the render loop.
	settleTime time.Duration
	// builds lets the controller know of Builds.
	builds bool
	// renders adds the loops of clusters where nobody else renders configs.
	renders bool
	// grace is that of retention; 0 for the product's own.
	grace time.Duration
	// forbidsDeletions makes the registry answer deletions with 405.
	forbidsDeletions atomic.Bool
	// transport trusts the registry.
	transport http.RoundTripper
	// cancel ends ctx.
	cancel  context.CancelFunc
	stop    context.CancelFunc
	stopped chan struct{}
}

// newWorld makes an empty namespace's worth of settings and a registry on the control
// plane that tests share.
func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOn(t, plane)
}

func newWorldOn(t *testing.T, plane *controlplane.ControlPlane) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	admin, err := kube.NewClients(plane.Config)
	must(t, err)
	w := &world{t: t, ctx: ctx, cancel: cancel, plane: plane, Admin: admin, settleTime: 20 * time.Millisecond}
	server := httptest.NewTLSServer(w.registryHandler())
	t.Cleanup(server.Close)
	w.Registry, w.transport = strings.TrimPrefix(server.URL, "https://")+"/os/images", server.Client().Transport
	w.clean()
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry})
	w.setting(api.ConfigMapOSImageURL, map[string]string{api.KeyBaseOSContainerImage: "registry.example.com/os/base:1", api.KeyReleaseVersion: "4.14.0"})
	w.setting(api.ConfigMapServiceCA, map[string]string{api.ServiceCAKey: string(pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))})
	t.Cleanup(func() { w.Stop() })
	return w
}

// registryHandler is a registry that may forbid deletions.
func (w *world) registryHandler() http.Handler {
	images := ocireg.New(ocireg.Logger(log.New(io.Discard, "", 0)))
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && w.forbidsDeletions.Load() {
			rw.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		images.ServeHTTP(rw, r)
	})
}

// clean removes what an earlier test left.
func (w *world) clean() {
	pools, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().List(w.ctx, metav1.ListOptions{})
	must(w.t, err)
	for _, p := range pools.Items {
		must(w.t, w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Delete(w.ctx, p.Name, metav1.DeleteOptions{}))
	}
	for _, name := range []string{api.ConfigMapBuildConfig, api.ConfigMapOSImageURL, api.ConfigMapCustomDockerfile} {
		_ = w.Admin.Core.CoreV1().ConfigMaps(namespace).Delete(w.ctx, name, metav1.DeleteOptions{}) // most often not there
	}
	w.eventually("the objects of earlier tests are gone", func() error {
		return w.nothingLeft()
	})
}

// nothingLeft fails while a build object of any pool exists. With no kubelet,
// a pod that is asked to go with a grace period goes when the test says so.
func (w *world) nothingLeft() error {
	options := metav1.ListOptions{LabelSelector: api.LabelBuildPod}
	pods, err := w.Admin.Core.CoreV1().Pods(namespace).List(w.ctx, options)
	if err != nil {
		return err
	}
	maps, err := w.Admin.Core.CoreV1().ConfigMaps(namespace).List(w.ctx, options)
	if err != nil {
		return err
	}
	w.reap(pods.Items)
	builds, err := w.Admin.Build.BuildV1().Builds(namespace).List(w.ctx, options)
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	var left []string
	for _, b := range builds.Items {
		left = append(left, "build/"+b.Name)
	}
	for _, p := range pods.Items {
		left = append(left, "pod/"+p.Name)
	}
	for _, m := range maps.Items {
		left = append(left, "configmap/"+m.Name)
	}
	if len(left) > 0 {
		return fmt.Errorf("still there: %s", strings.Join(left, ", "))
	}
	return nil
}

// reap plays the kubelet's part in a deletion: the containers have stopped.
func (w *world) reap(pods []corev1.Pod) {
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			now := int64(0)
			_ = w.Admin.Core.CoreV1().Pods(namespace).Delete(w.ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}) // may be gone
		}
	}
}

// controllerConfig is for who acts under the controller's own ServiceAccount.
func (w *world) controllerConfig() *rest.Config {
	w.t.Helper()
	config, err := w.plane.ServiceAccount(w.ctx, namespace, "machine-os-builder")
	must(w.t, err)
	return config
}

// Start runs the controller under its own ServiceAccount.
func (w *world) Start() {
	w.t.Helper()
	config := w.controllerConfig()
	w.Requests = &counter{last: w.lastWrite}
	config.Wrap(func(rt http.RoundTripper) http.RoundTripper { w.Requests.next = rt; return w.Requests })
	if w.wrap != nil {
		config.Wrap(w.wrap)
	}
	clients, err := kube.NewClients(config)
	must(w.t, err)
	if !w.builds {
		clients.Build = nil
	}
	informers, err := kube.NewInformers(clients, namespace)
	must(w.t, err)
	backends := map[string]backend.Backend{api.BuilderCustomPod: pod.New(clients.Core, informers, namespace)}
	if w.builds {
		backends[api.BuilderOpenShift] = openshiftbuild.New(clients, informers, namespace)
	}

	ctx, cancel := context.WithCancel(w.ctx)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: clients.Core.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(mcfgscheme.Scheme, corev1.EventSource{Component: "machine-os-builder"})
	builder, err := osbuild.New(osbuild.Options{
		Clients: clients, Informers: informers, Namespace: namespace, BuilderImage: "registry.example.com/builder:1",
		Backend:  chosen.New(backends),
		Recorder: recorder, Metrics: metrics.NewBuilds(prometheus.NewRegistry()), Clock: clock.RealClock{},
	})
	must(w.t, err)
	keeper, err := retention.New(retention.Options{
		Clients: clients, Informers: informers, Namespace: namespace, Recorder: recorder, Metrics: metrics.NewImages(prometheus.NewRegistry()), Clock: clock.RealClock{}, Grace: w.grace,
	})
	must(w.t, err)
	poller, err := basepoll.New(basepoll.Options{Clients: clients, Informers: informers, Namespace: namespace, Clock: clock.RealClock{}, Resolve: w.resolve, Members: w.members})
	must(w.t, err)
	running := []interface{ Run(context.Context) }{builder, keeper, poller}
	if w.renders {
		informers.WatchNodes()
		convert := w.convert
		if convert == nil {
			convert = spec2.Convert
		}
		renderer, err := render.New(render.Options{Clients: clients, Informers: informers, Version: "v1", Convert: convert, Recorder: recorder, Clock: clock.RealClock{}, SettleTime: w.settleTime})
		must(w.t, err)
		status, err := poolstatus.New(poolstatus.Options{Clients: clients, Informers: informers, Clock: clock.RealClock{}})
		must(w.t, err)
		running = append(running, renderer, status)
	}
	must(w.t, informers.Start(ctx))
	w.stop, w.stopped = cancel, make(chan struct{})
	go func() {
		defer close(w.stopped)
		var loops sync.WaitGroup
		for _, loop := range running {
			loops.Go(func() { loop.Run(ctx) })
		}
		loops.Wait()
		broadcaster.Shutdown()
	}()
}

// Stop ends the controller as a kill would: nothing is cleaned up.
func (w *world) Stop() {
	if w.stop != nil {
		w.stop()
		<-w.stopped
		w.stop = nil
	}
}

func (w *world) setting(name string, data map[string]string) {
	w.t.Helper()
	client := w.Admin.Core.CoreV1().ConfigMaps(namespace)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	_, err := client.Update(w.ctx, cm, metav1.UpdateOptions{})
	if err != nil {
		_, err = client.Create(w.ctx, cm, metav1.CreateOptions{})
	}
	must(w.t, err)
}

// push puts an image into the registry, as the build of a config would, and
// returns its digest.
func (w *world) push(config string) string {
	w.t.Helper()
	pod, err := w.Admin.Core.CoreV1().Pods(namespace).Get(w.ctx, "build-"+config, metav1.GetOptions{})
	must(w.t, err)
	return w.pushAs(config, pod.Annotations[api.AnnotationInputsHash])
}

// has asks the registry for a digest.
func (w *world) has(digest string) bool {
	w.t.Helper()
	ref, err := name.NewDigest(w.Registry + "@" + digest)
	must(w.t, err)
	_, err = remote.Head(ref, remote.WithTransport(w.transport))
	return err == nil
}

// finish ends a build pod well or badly, as the kubelet would report it.
func (w *world) finish(pod string, result buildspec.Result) {
	w.t.Helper()
	w.finishAt(pod, result, time.Now())
}

// finishAt ends it at a time of its own; the API keeps whole seconds.
func (w *world) finishAt(pod string, result buildspec.Result, at time.Time) {
	w.t.Helper()
	phase, code := corev1.PodSucceeded, int32(0)
	if !result.Succeeded {
		phase, code = corev1.PodFailed, 1
	}
	w.podStatus(pod, func(p *corev1.Pod) {
		p.Status.Phase = phase
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: p.Spec.Containers[0].Name, State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Message: string(result.Encode()), FinishedAt: metav1.NewTime(at)},
		}}}
	})
}

func (w *world) podStatus(pod string, change func(*corev1.Pod)) {
	w.t.Helper()
	p, err := w.Admin.Core.CoreV1().Pods(namespace).Get(w.ctx, pod, metav1.GetOptions{})
	must(w.t, err)
	change(p)
	_, err = w.Admin.Core.CoreV1().Pods(namespace).UpdateStatus(w.ctx, p, metav1.UpdateOptions{})
	must(w.t, err)
}

// patchPool merges into a pool.
func (w *world) patchPool(pool, patch string) {
	w.t.Helper()
	_, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Patch(w.ctx, pool, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	must(w.t, err)
}

func (w *world) pool(name string) *mcfgv1.MachineConfigPool {
	w.t.Helper()
	p, err := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(w.ctx, name, metav1.GetOptions{})
	must(w.t, err)
	return p
}

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	w.within(settle, what, check)
}

func (w *world) within(patience time.Duration, what string, check func() error) {
	w.t.Helper()
	eventually(w.t, patience, what, check)
}

// eventually waits until a check holds; it says what the check last said.
func eventually(t *testing.T, patience time.Duration, what string, check func() error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not after %v: %v", what, patience, last)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
