package integration

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// TestEditedInputs: whatever somebody writes into the inputs of a build, the
// next run of it gets what was asked for.
func TestEditedInputs(t *testing.T) {
	w := newWorld(t)
	const config = "rendered-worker-a1"
	w.setting(api.ConfigMapCustomDockerfile, map[string]string{"worker": "FROM configs AS final\nRUN true\n"})
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	first := w.podOf(config).UID
	maps := w.Admin.Core.CoreV1().ConfigMaps(namespace)
	want := map[string]*corev1.ConfigMap{}
	for _, name := range []string{"mc-" + config, "dockerfile-" + config} {
		cm, err := maps.Get(w.ctx, name, metav1.GetOptions{})
		must(t, err)
		want[name] = cm
		data := map[string]any{"more": "x"}
		for key := range cm.Data {
			data[key] = "edited"
		}
		patch, err := json.Marshal(map[string]any{"data": data})
		must(t, err)
		_, err = maps.Patch(w.ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
		must(t, err)
	}
	must(t, w.Admin.Core.CoreV1().Pods(namespace).Delete(w.ctx, "build-"+config, metav1.DeleteOptions{}))
	w.eventually("another pod", func() error {
		if w.podOf(config).UID == first {
			return fmt.Errorf("pod %s is still there", first)
		}
		return nil
	})
	for name, cm := range want {
		got, err := maps.Get(w.ctx, name, metav1.GetOptions{})
		must(t, err)
		if !reflect.DeepEqual(got.Data, cm.Data) || got.UID != cm.UID {
			t.Errorf("configmap/%s: data %v, UID %s; was %s", name, got.Data, got.UID, cm.UID)
		}
	}
}

// TestEvents: the controller's rights are enough for an event about a pool.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	w.addPool("worker", "rendered-worker-a1")
	uid := string(w.pool("worker").UID)
	w.patchPool("worker", optIn)
	w.Start()
	w.podOf("rendered-worker-a1")
	w.eventually("an event about the pool", func() error {
		events, err := w.Admin.Core.CoreV1().Events(metav1.NamespaceDefault).List(w.ctx, metav1.ListOptions{
			FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", uid).String(),
		})
		if err == nil && len(events.Items) == 0 {
			err = fmt.Errorf("there is none for UID %s", uid)
		}
		return err
	})
}
