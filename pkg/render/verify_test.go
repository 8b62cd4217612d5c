package render

import (
	"errors"
	"strings"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestVerify(t *testing.T) {
	r := renderAll(t, pool("worker", "worker"), []*mcfgv1.MachineConfig{
		config("a", `"storage":{"files":[{"path":"/a","mode":420,"contents":{"source":"data:,a"}}]}`),
	})
	for _, row := range []struct {
		name    string
		change  func(*mcfgv1.MachineConfig)
		err     string
		passing bool
	}{
		{name: "the same", change: func(*mcfgv1.MachineConfig) {}},
		{name: "as the API server lays it out", change: func(mc *mcfgv1.MachineConfig) {
			mc.Spec.Config.Raw = []byte(`{"storage": {"files": [{"overwrite":true, "contents": {"source":"data:,a"},"mode":420,"path":"/a"}]}, "ignition":{"version":"3.5.0"}}`)
			mc.Spec.Extensions, mc.UID, mc.Annotations = nil, "uid", nil
		}},
		{name: "another mode", err: "spec was edited: delete it", change: func(mc *mcfgv1.MachineConfig) {
			mc.Spec.Config.Raw = []byte(strings.Replace(string(mc.Spec.Config.Raw), "420", "421", 1))
		}},
		{name: "another field", err: "spec was edited: delete it", change: func(mc *mcfgv1.MachineConfig) { mc.Spec.FIPS = true }},
		{name: "being deleted", err: "is being deleted", passing: true, change: func(mc *mcfgv1.MachineConfig) {
			mc.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		}},
		{name: "of an earlier pool", err: `earlier pool "worker"`, passing: true, change: func(mc *mcfgv1.MachineConfig) { mc.OwnerReferences[0].UID = "before" }},
		{name: "of another pool", err: `controlled by MachineConfigPool "other"`, change: func(mc *mcfgv1.MachineConfig) {
			mc.OwnerReferences[0].UID, mc.OwnerReferences[0].Name = "other", "other"
		}},
		{name: "of nobody", err: `pool "worker" does not control it`, change: func(mc *mcfgv1.MachineConfig) { mc.OwnerReferences = nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			existing := r.Config.DeepCopy()
			row.change(existing)
			err := Verify(existing, r.Config)
			if row.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var taken *TakenError
			if !errors.As(err, &taken) || taken.Passing != row.passing || !strings.Contains(err.Error(), row.err) || !strings.Contains(err.Error(), r.Config.Name) {
				t.Fatalf("error is %v, want %q", err, row.err)
			}
			if refusal := taken.Refusal(); refusal.Message != err.Error() {
				t.Errorf("refusal says %q", refusal.Message)
			}
		})
	}
	broken := r.Config.DeepCopy()
	broken.Spec.Config.Raw = []byte(`{`)
	if err := Verify(broken, r.Config); err == nil {
		t.Error("no error for a spec that is no JSON")
	}
}
