package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

const shortGrace = time.Second

func workerConfig(n int) string { return fmt.Sprintf("rendered-worker-a%d", n) }

// registryWorld is a world in which builds are told apart by when they ended.
type registryWorld struct {
	*world
	lastBuild time.Time
}

func newRegistryWorld(t *testing.T) *registryWorld {
	t.Helper()
	return &registryWorld{world: newWorld(t), lastBuild: time.Now().Add(-time.Hour)}
}

// buildInTurn builds worker's configs 1 to n, one after the other, and returns
// their digests by number.
func (w *registryWorld) buildInTurn(n int) map[int]string {
	w.t.Helper()
	digests := map[int]string{}
	for i := 1; i <= n; i++ {
		w.addConfig(workerConfig(i), fmt.Sprint(i))
		w.patchPool("worker", retarget(workerConfig(i)))
		digests[i] = w.buildOnce(i)
	}
	return digests
}

// buildOnce plays the kubelet for the build of a config, which ends a minute
// after the one before it, and returns its digest.
func (w *registryWorld) buildOnce(n int) string {
	w.t.Helper()
	config := workerConfig(n)
	w.podOf(config)
	digest := w.push(config)
	w.lastBuild = w.lastBuild.Add(time.Minute)
	w.finishAt("build-"+config, buildspec.Result{Succeeded: true, Digest: digest}, w.lastBuild)
	w.annotated("worker", config, digest)
	w.goneSoon("configmap", "mc-"+config)
	return digest
}

// left waits until just these of the images built are in the registry, and just
// these records exist.
func (w *registryWorld) left(digests map[int]string, images, records []int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("images %v and records %v are left", images, records), func() error {
		var haveImages, haveRecords []int
		for n := 1; n <= len(digests); n++ {
			if w.has(digests[n]) {
				haveImages = append(haveImages, n)
			}
			if w.exists("configmap", "digest-"+workerConfig(n)) {
				haveRecords = append(haveRecords, n)
			}
		}
		if !slices.Equal(haveImages, images) || !slices.Equal(haveRecords, records) {
			return fmt.Errorf("there are images %v and records %v", haveImages, haveRecords)
		}
		return nil
	})
}

// rollBack retargets worker to a config whose image is kept; it fails the test
// when that starts a build.
func (w *registryWorld) rollBack(n int, digest string) {
	w.t.Helper()
	w.Requests.Writes()
	w.patchPool("worker", retarget(workerConfig(n)))
	want := w.Registry + "@" + digest
	w.eventually(fmt.Sprintf("the pool is back at config %d", n), func() error {
		a := w.pool("worker").Annotations
		if a[api.AnnotationNewestImage] != want || a[api.AnnotationImageConfig] != workerConfig(n) {
			return fmt.Errorf("annotations are %v", a)
		}
		return nil
	})
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonImageReused)
	if made := w.podsMade(); made != 0 {
		w.t.Errorf("going back to config %d made %d build pods", n, made)
	}
}

// podsMade counts the pods that the controller has made since the last look at
// its writes.
func (w *registryWorld) podsMade() int {
	made := 0
	for _, write := range w.Requests.Writes() {
		if strings.HasPrefix(write, "POST ") && strings.HasSuffix(write, "/pods") {
			made++
		}
	}
	return made
}

func (w *registryWorld) record(n int) osbuild.Record {
	w.t.Helper()
	cm, err := w.Admin.Core.CoreV1().ConfigMaps(namespace).Get(w.ctx, "digest-"+workerConfig(n), metav1.GetOptions{})
	must(w.t, err)
	r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
	must(w.t, err)
	return r
}

func (w *registryWorld) addNode(name, annotation, image string) {
	w.t.Helper()
	nodes := w.Admin.Core.CoreV1().Nodes()
	_, err := nodes.Create(w.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{annotation: image}}}, metav1.CreateOptions{})
	must(w.t, err)
	w.t.Cleanup(func() { _ = nodes.Delete(context.Background(), name, metav1.DeleteOptions{}) }) // the test may have removed it
}

// TestS29OldImagesGoAndAreBuiltAgain: of five builds the newest three images
// stay, and the one that a node runs. Going back to a kept one takes no build,
// going back to one that is gone takes one.
func TestS29OldImagesGoAndAreBuiltAgain(t *testing.T) {
	w := newRegistryWorld(t)
	w.grace = shortGrace
	w.addPool("worker", workerConfig(1))
	w.patchPool("worker", optIn)
	w.Start()
	first := w.buildOnce(1)
	w.addNode("node-1", api.AnnotationCurrentImage, w.Registry+"@"+first)
	digests := map[int]string{1: first}
	for n := 2; n <= 5; n++ {
		w.addConfig(workerConfig(n), fmt.Sprint(n))
		w.patchPool("worker", retarget(workerConfig(n)))
		digests[n] = w.buildOnce(n)
	}
	w.left(digests, []int{1, 3, 4, 5}, []int{1, 3, 4, 5})
	w.rollBack(3, digests[3])
	w.rollBack(5, digests[5])

	w.patchPool("worker", retarget(workerConfig(2)))
	digests[2] = w.buildOnce(2)
	if made := w.podsMade(); made != 1 {
		t.Errorf("%d build pods were made for an image that had been deleted, want 1", made)
	}
	w.left(digests, []int{1, 2, 4, 5}, []int{1, 2, 4, 5})

	// A controller that starts looks at everything again.
	w.Stop()
	must(t, w.Admin.Core.CoreV1().Nodes().Delete(w.ctx, "node-1", metav1.DeleteOptions{}))
	w.Start()
	w.left(digests, []int{2, 4, 5}, []int{2, 4, 5})
}

// TestS29RolledBackToAMarkedImage: an image on its way out is taken back.
func TestS29RolledBackToAMarkedImage(t *testing.T) {
	w := newRegistryWorld(t)
	w.addPool("worker", workerConfig(1))
	w.patchPool("worker", optIn)
	w.Start()
	digests := w.buildInTurn(4)
	w.eventually("the oldest image is marked", func() error {
		if w.record(1).UnneededSince.IsZero() {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	w.rollBack(1, digests[1])
	if since := w.record(1).UnneededSince; !since.IsZero() {
		t.Errorf("the image is in use and marked as unneeded since %v", since)
	}
}

// TestRebuiltImagesGo: what a rebuild of the same config replaced counts as an
// image of the pool.
func TestRebuiltImagesGo(t *testing.T) {
	w := newRegistryWorld(t)
	w.grace = shortGrace
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyImagesToKeep: "2"})
	w.addPool("worker", workerConfig(1))
	w.patchPool("worker", optIn)
	w.Start()
	digests := []string{w.buildOnce(1)}
	for token := 1; token <= 3; token++ {
		w.patchPool("worker", fmt.Sprintf(`{"metadata":{"annotations":{%q:"%d"}}}`, api.AnnotationRebuild, token))
		digests = append(digests, w.buildOnce(1))
	}
	w.eventually("two images are left", func() error {
		var there []bool
		for _, d := range digests {
			there = append(there, w.has(d))
		}
		if r := w.record(1); !slices.Equal(there, []bool{false, false, true, true}) || len(r.Superseded) != 1 {
			return fmt.Errorf("there: %v; the record still names %v", there, r.Superseded)
		}
		return nil
	})
}

// TestS31RegistryForbidsDeletions: one warning, and nothing fails; what it forbade is
// deleted when it allows it, which changed settings are a reason to find out.
func TestS31RegistryForbidsDeletions(t *testing.T) {
	w := newRegistryWorld(t)
	w.grace = shortGrace
	w.forbidsDeletions.Store(true)
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyImagesToKeep: "1"})
	w.addPool("worker", workerConfig(1))
	uid := string(w.pool("worker").UID)
	w.patchPool("worker", optIn)
	w.Start()
	digests := w.buildInTurn(4)
	w.left(digests, []int{1, 2, 3, 4}, []int{1, 2, 3, 4})
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
	w.eventually("the warning", func() error {
		events, err := w.Admin.Core.CoreV1().Events(metav1.NamespaceDefault).List(w.ctx, metav1.ListOptions{FieldSelector: fields.Set{
			"involvedObject.uid": uid, "reason": api.EventDeletionForbidden,
		}.String()})
		must(t, err)
		if len(events.Items) != 1 || events.Items[0].Count != 1 || events.Items[0].Type != corev1.EventTypeWarning || !strings.Contains(events.Items[0].Message, w.Registry) {
			return fmt.Errorf("events: %v", events.Items)
		}
		return nil
	})
	w.rollBack(2, digests[2])
	w.forbidsDeletions.Store(false)
	w.setting(api.ConfigMapBuildConfig, map[string]string{api.KeyFinalImagePullspec: w.Registry, api.KeyImagesToKeep: "1", api.KeyMaxBuildRetries: "5"})
	w.left(digests, []int{2, 4}, []int{2, 4})
}
