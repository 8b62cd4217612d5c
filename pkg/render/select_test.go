package render

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

func controlledBy(apiVersion, kind string) func(*mcfgv1.MachineConfig) {
	yes := true
	return func(mc *mcfgv1.MachineConfig) {
		mc.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: "worker", UID: "uid-of-worker", Controller: &yes}}
	}
}

func role(name string) func(*mcfgv1.MachineConfig) {
	return func(mc *mcfgv1.MachineConfig) { mc.Labels = map[string]string{roleLabel: name} }
}

func TestSelect(t *testing.T) {
	const mcGroup = "machineconfiguration.openshift.io/v1"
	all := []*mcfgv1.MachineConfig{
		config("99-infra", "", role("infra")), config("00-worker", ""), config("00-master", "", role("master")),
		config("99-worker-generated-kubelet", "", controlledBy(mcGroup, "KubeletConfig")),
		config("98-other-group", "", controlledBy("example.com/v1", "MachineConfigPool")),
		config("rendered-worker-1", "", controlledBy(mcGroup, "MachineConfigPool")),
		config("97-of-a-pool", "", controlledBy("machineconfiguration.openshift.io/v2", "MachineConfigPool")),
		config("10-no-label", "", func(mc *mcfgv1.MachineConfig) { mc.Labels = nil }),
	}
	restored := append([]*mcfgv1.MachineConfig{config("rendered-worker-2", "")}, all...)
	selectBy := func(s *metav1.LabelSelector) *mcfgv1.MachineConfigPool {
		return &mcfgv1.MachineConfigPool{Spec: mcfgv1.MachineConfigPoolSpec{MachineConfigSelector: s}}
	}
	for _, row := range []struct {
		name    string
		pool    *mcfgv1.MachineConfigPool
		configs []*mcfgv1.MachineConfig
		want    []string
		warning string
		reason  string
	}{
		{name: "one role", pool: pool("worker", "worker"), configs: all, want: []string{"00-worker", "98-other-group", "99-worker-generated-kubelet"}},
		{name: "two roles", pool: pool("infra", "worker", "infra"), configs: all, want: []string{"00-worker", "98-other-group", "99-infra", "99-worker-generated-kubelet"}},
		{
			name: "a rendered one without its owner", pool: pool("worker", "worker"), configs: restored,
			want: []string{"00-worker", "98-other-group", "99-worker-generated-kubelet"}, warning: `"rendered-worker-2" matches`,
		},
		{name: "none", pool: pool("edge", "edge"), configs: all, reason: api.ReasonNoMachineConfigs},
		{name: "no selector", pool: selectBy(nil), configs: all, reason: api.ReasonInvalidSelector},
		{name: "empty selector", pool: selectBy(&metav1.LabelSelector{}), configs: all, reason: api.ReasonInvalidSelector},
		{
			name: "invalid selector", pool: selectBy(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}),
			configs: all, reason: api.ReasonInvalidSelector,
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			selected, warnings, err := Select(row.pool, row.configs)
			var refusal *Refusal
			if errors.As(err, &refusal); row.reason != "" && (refusal == nil || refusal.Reason != row.reason) || row.reason == "" && err != nil {
				t.Fatalf("error is %v, want %q", err, row.reason)
			}
			var names []string
			for _, mc := range selected {
				names = append(names, mc.Name)
			}
			if !reflect.DeepEqual(names, row.want) {
				t.Errorf("selected %v, want %v", names, row.want)
			}
			if all := strings.Join(warnings, "\n"); !strings.Contains(all, row.warning) || row.warning == "" && all != "" {
				t.Errorf("warnings are %q, want %q", all, row.warning)
			}
		})
	}
}

// TestSelectByMetadata: no content is needed to select.
func TestSelectByMetadata(t *testing.T) {
	selected, _, err := Select(pool("worker", "worker"), []metav1.Object{
		&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "b", Labels: map[string]string{roleLabel: "worker"}}},
		&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: "a", Labels: map[string]string{roleLabel: "worker"}}},
	})
	if err != nil || len(selected) != 2 || selected[0].GetName() != "a" {
		t.Errorf("selected %v, error %v", selected, err)
	}
}
