package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
)

// deleteBuild deletes a Build as kubectl does: nothing holds it back, and it is gone
// before anybody could see it go.
func (w *world) deleteBuild(b *buildv1.Build) {
	w.t.Helper()
	background := metav1.DeletePropagationBackground
	must(w.t, w.Admin.Build.BuildV1().Builds(namespace).Delete(w.ctx, b.Name, metav1.DeleteOptions{PropagationPolicy: &background}))
}

// completeBuild lets the Build of a config succeed and waits for the annotation.
func (w *world) completeBuild(pool, config string, b *buildv1.Build) {
	w.t.Helper()
	digest := w.pushAs(config, b.Annotations[api.AnnotationInputsHash])
	w.buildStatus(b.Name, func(s *buildv1.BuildStatus) { complete(s, digest) })
	w.annotated(pool, config, digest)
}

// TestS23BuildDeletedBySomebody: as with a pod, that is an interruption, counted apart,
// and the Build comes again after a while; also where the controller was not there.
func TestS23BuildDeletedBySomebody(t *testing.T) {
	for name, row := range map[string]struct {
		phase buildv1.BuildPhase
		down  bool
	}{
		"before it ran": {buildv1.BuildPhaseNew, false},
		"while it runs": {buildv1.BuildPhaseRunning, false},
		"while it runs, and the controller is down": {buildv1.BuildPhaseRunning, true},
	} {
		t.Run(name, func(t *testing.T) {
			const config = "rendered-worker-a1"
			w, first := newWorldWithBuild(t, config)
			w.buildStatus(first.Name, func(s *buildv1.BuildStatus) { s.Phase, s.Message = row.phase, "it is looked at" })
			if row.phase == buildv1.BuildPhaseRunning {
				w.verdict("worker", mcfgv1.MachineConfigPoolBuilding, api.ReasonBuildRunning)
			} else {
				w.told("worker", "it is looked at")
			}
			if row.down {
				w.Stop()
			}
			w.deleteBuild(first)
			if row.down {
				w.Start()
			}
			w.eventually("the record of the interruption", func() error {
				cm, err := w.Admin.Core.CoreV1().ConfigMaps(namespace).Get(w.ctx, "digest-"+config, metav1.GetOptions{})
				if err != nil {
					return err
				}
				r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
				if err == nil && (r.Reason != api.ReasonBuildInterrupted || r.Attempts != 0 || r.Interruptions != 1 || r.LastRun != first.UID) {
					t.Fatalf("record %+v", r)
				}
				return err
			})
			message := w.verdict("worker", mcfgv1.MachineConfigPoolBuildPending, api.ReasonWaitingForRetry)
			if !strings.Contains(message, "build/build-"+config+" was deleted") {
				t.Errorf("message %q", message)
			}
			second := w.buildOf(config)
			if second.UID == first.UID || second.Annotations[api.AnnotationAttempt] != "1" {
				t.Errorf("then came %s, try %s", second.UID, second.Annotations[api.AnnotationAttempt])
			}
			w.completeBuild("worker", config, second)
		})
	}
}

// told waits for a condition that says something.
func (w *world) told(pool, text string) {
	w.t.Helper()
	w.eventually("pool "+pool+" says "+text, func() error {
		conditions := w.pool(pool).Status.Conditions
		if slices.ContainsFunc(conditions, func(c mcfgv1.MachineConfigPoolCondition) bool { return strings.Contains(c.Message, text) }) {
			return nil
		}
		return fmt.Errorf("conditions are %v", conditions)
	})
}

// TestS37PoolsAreBuiltByBuildsOnceThereAre: a pool that was built by a pod keeps its
// image, and the next one comes of a Build.
func TestS37PoolsAreBuiltByBuildsOnceThereAre(t *testing.T) {
	cluster, err := controlplane.Start(t.Context(), t.TempDir(), filepath.Join("..", "..", "manifests", "overlays", "kubernetes"))
	must(t, err)
	t.Cleanup(cluster.Stop)
	w := newWorldOn(t, cluster)
	w.builds = true
	const config, next = "rendered-worker-a1", "rendered-worker-b2"
	w.addPool("worker", config)
	w.addConfig(next, "bye")
	w.patchPool("worker", optIn)
	w.Start()
	w.podOf(config)
	w.complete("worker", config)
	image := w.pool("worker").Annotations[api.AnnotationNewestImage]

	_, err = cluster.Kubectl(w.ctx, "", "apply", "-k", filepath.Join("..", "..", "manifests", "builds", "crd"))
	must(t, err)
	w.eventually("Builds are served", func() error {
		_, err := w.Admin.Build.BuildV1().Builds(namespace).List(w.ctx, metav1.ListOptions{})
		return err
	})
	w.patchPool("worker", retarget(next))
	w.completeBuild("worker", next, w.buildOf(next))
	if w.exists("pod", "build-"+next) {
		t.Error("there is a pod besides the Build")
	}
	if got := w.pool("worker").Annotations[api.AnnotationNewestImage]; got == image {
		t.Errorf("the image is still %s", got)
	}
	_, err = w.Admin.Build.BuildV1().Builds(namespace).Get(w.ctx, "build-"+config, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("what a pod had built was built again: %v", err)
	}
	if made := slices.DeleteFunc(w.Requests.Writes(), func(write string) bool {
		return !strings.HasPrefix(write, "POST ") || !strings.HasSuffix(write, "/builds")
	}); len(made) != 1 {
		t.Errorf("Builds made: %q", made)
	}
}
