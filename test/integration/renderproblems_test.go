package integration

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
)

// TestStrangerInTheWayIsDeleted: what the message says helps, and at once.
func TestStrangerInTheWayIsDeleted(t *testing.T) {
	for name, owned := range map[string]bool{"of nobody": false, "of another pool": true} {
		t.Run(name, func(t *testing.T) {
			w := rendering(t)
			w.addRendered("other")
			configs := w.Admin.MachineConfig.MachineconfigurationV1().MachineConfigs()
			w.apply("00-worker", "worker", "/etc/a", "one")
			w.Start()
			first := w.targeted("worker", "")
			w.Stop()
			stranger := must1(w.config(first))(t)
			must(t, configs.Delete(w.ctx, first, metav1.DeleteOptions{}))
			stranger.ObjectMeta = metav1.ObjectMeta{Name: first}
			if owned {
				stranger.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w.pool("other"), mcfgv1.GroupVersion.WithKind("MachineConfigPool"))}
			}
			_, err := configs.Create(w.ctx, stranger, metav1.CreateOptions{})
			must(t, err)
			w.Start()
			w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionTrue, first, api.ReasonRenderedConfigTaken, "delete it")
			must(t, configs.Delete(w.ctx, first, metav1.DeleteOptions{}))
			w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
			if mc := must1(w.config(first))(t); !metav1.IsControlledBy(mc, w.pool("worker")) {
				t.Errorf("%s is owned by %v", first, mc.OwnerReferences)
			}
		})
	}
}

// TestWarningWithoutAnotherConfig: what is passed over changes nothing that is
// rendered, and is told all the same, once.
func TestWarningWithoutAnotherConfig(t *testing.T) {
	w := rendering(t)
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.Start()
	name := w.targeted("worker", "")
	told := func() int {
		t.Helper()
		events, err := w.Admin.Core.CoreV1().Events("default").List(w.ctx, metav1.ListOptions{
			FieldSelector: "involvedObject.uid=" + string(w.pool("worker").UID) + ",reason=" + api.EventRenderWarning,
		})
		must(t, err)
		count := 0
		for _, e := range events.Items {
			if strings.Contains(e.Message, `"rendered-extra"`) {
				count += int(e.Count)
			}
		}
		return count
	}
	w.apply("rendered-extra", "worker", "/etc/b", "two")
	w.eventually("it is told that rendered-extra is passed over", func() error {
		if told() == 0 {
			return errors.New("nothing is")
		}
		return nil
	})
	// What comes after it: another look at the same.
	w.applyRaw("99-nothing", "worker", `{"ignition":{"version":"3.4.0"}}`)
	w.eventually("the sources name both", func() error {
		if c := w.pool("worker").Spec.Configuration; len(c.Source) != 2 || c.Name != name {
			return fmt.Errorf("%s of %+v", c.Name, c.Source)
		}
		return nil
	})
	if n := told(); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}

// TestConverterFails: that a config of spec 2 was not looked at is told, by its
// name, and tried again.
func TestConverterFails(t *testing.T) {
	w := rendering(t)
	var broken atomic.Bool
	broken.Store(true)
	w.convert = func(raw []byte) (ignition.Converted, error) {
		if broken.Load() {
			return ignition.Converted{}, fmt.Errorf("%w: killed", ignition.ErrNoConverter)
		}
		return spec2.Convert(raw)
	}
	w.apply("00-worker", "worker", "/etc/a", "one")
	w.Start()
	good := w.targeted("worker", "", "/etc/a")
	w.applyRaw("50-old", "worker", `{"ignition":{"version":"2.2.0"},"storage":{"files":[{"filesystem":"root","path":"/etc/b","mode":420,"contents":{"source":"data:,b"}}]}}`)
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionTrue, `MachineConfig "50-old"`, api.ReasonCannotConvertMachineConfig, "killed")
	if have := w.pool("worker").Spec.Configuration.Name; have != good {
		t.Errorf("the pool targets %s, the last good one is %s", have, good)
	}
	broken.Store(false)
	w.targeted("worker", good, "/etc/b")
	w.shows("worker", mcfgv1.MachineConfigPoolRenderDegraded, corev1.ConditionFalse)
}
