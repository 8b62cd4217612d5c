package integration

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

var architectures = []string{"amd64", "arm64"}

// finishParts ends the pods of a config well, the last one with the index.
func (w *world) finishParts(config, digest string) {
	w.t.Helper()
	var members []string
	for i, architecture := range architectures {
		member := "sha256:" + strings.Repeat(fmt.Sprint(i+1), 64)
		members = append(members, member)
		result := buildspec.Result{Succeeded: true, Member: member}
		if i == len(architectures)-1 {
			result.Digest, result.Members = digest, members
		}
		w.finish(names.BuildFor(config, architecture), result)
	}
}

// severalWorld is a world with a pool that builds for two architectures, in
// which pods run.
type severalWorld struct {
	*world
	nodes  *kubelet.Kubelet
	images *kubelet.Registry
}

const severalConfig = "rendered-worker-a1"

func newSeveralWorld(t *testing.T, script kubelet.Script) *severalWorld {
	t.Helper()
	w := &severalWorld{world: newWorld(t), images: kubelet.NewRegistry()}
	t.Cleanup(w.images.Close)
	w.Registry = w.images.Host + "/os/images"
	w.nodes = kubelet.New(kubelet.Options{
		Client: w.Admin.Core, Namespace: namespace, Registry: w.images,
		Script: kubelet.Always(script),
	})
	w.configure(nil)
	w.setting(api.ConfigMapServiceCA, map[string]string{api.ServiceCAKey: string(w.images.CA)})
	w.setting(api.ConfigMapCustomDockerfile, map[string]string{"worker": "FROM configs AS final\nRUN true\n"})
	w.addPool("worker", severalConfig)
	w.patchPool("worker", optIn)
	var nodes sync.WaitGroup
	nodes.Go(func() { w.nodes.Run(w.ctx) })
	t.Cleanup(nodes.Wait)
	t.Cleanup(w.stopAll)
	return w
}

// configure sets what every test of this kind needs, and more.
func (w *severalWorld) configure(more map[string]string) {
	w.t.Helper()
	settings := map[string]string{
		api.KeyFinalImagePullspec: w.Registry, api.KeyArchitectures: strings.Join(architectures, " "), api.KeyMaxBuildRetries: "1",
	}
	maps.Copy(settings, more)
	w.setting(api.ConfigMapBuildConfig, settings)
}

// stopAll ends the kubelet, which the test's context does too late.
func (w *severalWorld) stopAll() {
	w.Stop()
	w.cancel()
}

// pods are those of the run by architecture.
func (w *severalWorld) pods() map[string]corev1.Pod {
	w.t.Helper()
	list, err := w.Admin.Core.CoreV1().Pods(namespace).List(w.ctx, metav1.ListOptions{LabelSelector: api.LabelBuildPod})
	must(w.t, err)
	found := map[string]corev1.Pod{}
	for _, p := range list.Items {
		found[p.Annotations[api.AnnotationArchitecture]] = p
	}
	return found
}

// both waits until both pods exist that are not on their way out.
func (w *severalWorld) both() map[string]corev1.Pod {
	w.t.Helper()
	var pods map[string]corev1.Pod
	w.eventually("a pod for each architecture", func() error {
		pods = w.pods()
		for _, architecture := range architectures {
			if p, found := pods[architecture]; !found || p.DeletionTimestamp != nil {
				return fmt.Errorf("pods are %d", len(pods))
			}
		}
		return nil
	})
	return pods
}

func (w *severalWorld) record() osbuild.Record {
	w.t.Helper()
	cm, err := w.Admin.Core.CoreV1().ConfigMaps(namespace).Get(w.ctx, names.Record(severalConfig), metav1.GetOptions{})
	must(w.t, err)
	r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
	must(w.t, err)
	return r
}

// dies lets the controller die at a request, and with it all that follow.
func dies(at func(*http.Request) bool) (wrap func(http.RoundTripper) http.RoundTripper, dead chan struct{}) {
	dead = make(chan struct{})
	var once sync.Once
	return func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method != http.MethodGet && at(r) {
				once.Do(func() { close(dead) })
			}
			select {
			case <-dead:
				return nil, errKilled
			default:
				return next.RoundTrip(r)
			}
		})
	}, dead
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestSeveralArchitecturesAfterACrashBetweenPods: the next controller makes the
// pod that is missing, of the same run, and the build succeeds.
func TestSeveralArchitecturesAfterACrashBetweenPods(t *testing.T) {
	w := newSeveralWorld(t, kubelet.Script{Outcome: kubelet.Hang})
	var creations atomic.Int32
	var dead chan struct{}
	w.wrap, dead = dies(func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/pods") && creations.Add(1) == 2
	})
	w.Start()
	select {
	case <-dead:
	case <-w.ctx.Done():
		t.Fatal("the controller did not make two pods")
	}
	w.Stop()
	first := w.pods()
	if len(first) != 1 || first["amd64"].Name != "build-"+severalConfig+"-amd64" {
		t.Fatalf("after the crash there are %d pods", len(first))
	}

	w.wrap = nil
	w.Start()
	pods := w.both()
	run := pods["amd64"].Annotations[api.AnnotationRun]
	if pods["amd64"].UID != first["amd64"].UID || run == "" || pods["arm64"].Annotations[api.AnnotationRun] != run {
		t.Errorf("pod %s of run %s, then %s, and %s", first["amd64"].UID, run, pods["amd64"].UID, pods["arm64"].Annotations)
	}
	if selector := pods["arm64"].Spec.NodeSelector; selector[corev1.LabelArchStable] != "arm64" {
		t.Errorf("the pod for arm64 goes to %v", selector)
	}
	w.end(pods, kubelet.Succeed)
	w.success(pods)
}

// end ends pods now.
func (w *severalWorld) end(pods map[string]corev1.Pod, how kubelet.Outcome) {
	w.t.Helper()
	for architecture, p := range pods {
		w.eventually("pod for "+architecture+" is seen by its kubelet", func() error {
			if !w.nodes.End(p.UID, how) {
				return fmt.Errorf("not yet")
			}
			return nil
		})
	}
}

// success waits for the image, which is an index of what the pods pushed.
func (w *severalWorld) success(pods map[string]corev1.Pod) {
	w.t.Helper()
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
	image := w.pool("worker").Annotations[api.AnnotationNewestImage]
	r := w.record()
	if r.Image != image || len(r.Members) < len(architectures) || r.LastRun != types.UID(pods["amd64"].Annotations[api.AnnotationRun]) {
		w.t.Errorf("image %s, record %+v", image, r)
	}
	var runs []string
	for _, digest := range r.Members {
		labels, err := w.images.Labels(w.Registry + "@" + digest)
		must(w.t, err)
		runs = append(runs, labels[kubelet.LabelRun])
	}
	for architecture, p := range pods {
		if !slices.Contains(runs, string(p.UID)) {
			w.t.Errorf("the image of %s is not among those of %v", architecture, runs)
		}
	}
	for _, architecture := range architectures {
		w.goneSoon("pod", names.BuildFor(severalConfig, architecture))
	}
}

// TestSeveralArchitecturesOneFails: the pod that failed is named, and keeps its
// log; the other is stopped, and the next try makes both.
func TestSeveralArchitecturesOneFails(t *testing.T) {
	w := newSeveralWorld(t, kubelet.Script{Outcome: kubelet.Hang})
	w.Start()
	first := w.both()
	w.end(map[string]corev1.Pod{"arm64": first["arm64"]}, kubelet.Fail)
	message := w.verdict("worker", mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRetry)
	if !strings.Contains(message, "try 1 of 2 failed") || !strings.Contains(message, "arm64: line 2: RUN false") {
		t.Errorf("message %q does not name the architecture that failed", message)
	}
	w.eventually("the other pod is stopped, that which failed is not", func() error {
		pods := w.pods()
		_, runs := pods["amd64"]
		if failed, found := pods["arm64"]; runs || !found || failed.DeletionTimestamp != nil {
			return fmt.Errorf("amd64 is there: %t; arm64 is: %t", runs, found)
		}
		return nil
	})
	second := w.both()
	if second["arm64"].UID == first["arm64"].UID || second["amd64"].Annotations[api.AnnotationAttempt] != "2" || second["amd64"].Annotations[api.AnnotationRun] == first["amd64"].Annotations[api.AnnotationRun] {
		t.Errorf("the second try has the pods %v", second)
	}
	w.end(second, kubelet.Succeed)
	w.success(second)
	if r := w.record(); r.Attempts != 2 || r.Interruptions != 0 {
		t.Errorf("record %+v", r)
	}
}

// TestSeveralArchitecturesOnePodDeleted: a deleted pod is an interruption of the
// whole run.
func TestSeveralArchitecturesOnePodDeleted(t *testing.T) {
	w := newSeveralWorld(t, kubelet.Script{Outcome: kubelet.Hang})
	w.Start()
	first := w.both()
	must(t, w.Admin.Core.CoreV1().Pods(namespace).Delete(w.ctx, first["amd64"].Name, metav1.DeleteOptions{}))
	var second map[string]corev1.Pod
	w.eventually("both pods are made again", func() error {
		second = w.pods()
		for _, architecture := range architectures {
			if p, found := second[architecture]; !found || p.UID == first[architecture].UID || p.DeletionTimestamp != nil {
				return fmt.Errorf("%s is there: %t", architecture, found)
			}
		}
		return nil
	})
	if r := w.record(); r.Interruptions != 1 || r.Attempts != 0 || !strings.Contains(r.Message, "pod/"+first["amd64"].Name+" was deleted") {
		t.Errorf("record %+v", r)
	}
	w.end(second, kubelet.Succeed)
	w.success(second)
}

// TestSeveralArchitecturesOldImagesGoWhole: the images of an index go with it.
func TestSeveralArchitecturesOldImagesGoWhole(t *testing.T) {
	w := newSeveralWorld(t, kubelet.Script{Outcome: kubelet.Succeed})
	w.configure(map[string]string{api.KeyImagesToKeep: "1"})
	w.grace = shortGrace
	w.Start()
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
	old := w.record()
	w.setting(api.ConfigMapCustomDockerfile, map[string]string{"worker": "FROM configs AS final\nRUN echo\n"})
	w.eventually("another image is built", func() error {
		if image := w.pool("worker").Annotations[api.AnnotationNewestImage]; image == old.Image {
			return fmt.Errorf("it is still %s", image)
		}
		return nil
	})
	all := func(r osbuild.Record) []string {
		images := []string{r.Image}
		for _, digest := range r.Members {
			images = append(images, w.Registry+"@"+digest)
		}
		return images
	}
	if len(old.Members) != len(architectures) {
		t.Fatalf("record %+v", old)
	}
	w.eventually("the old images are gone", func() error {
		for _, image := range all(old) {
			if w.images.Has(image) {
				return fmt.Errorf("%s is there", image)
			}
		}
		return nil
	})
	for _, image := range all(w.record()) {
		if !w.images.Has(image) {
			t.Errorf("%s of the new image is gone", image)
		}
	}
}
