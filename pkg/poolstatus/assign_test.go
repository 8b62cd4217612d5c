package poolstatus

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const rolePrefix = "node-role.kubernetes.io/"

func poolOfRole(name, role string) *mcfgv1.MachineConfigPool {
	return &mcfgv1.MachineConfigPool{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       mcfgv1.MachineConfigPoolSpec{NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{rolePrefix + role: ""}}},
	}
}

func nodeOfRoles(name string, roles ...string) Node {
	n := Node{Name: name, Labels: map[string]string{}}
	for _, r := range roles {
		n.Labels[rolePrefix+r] = ""
	}
	return n
}

func TestAssign(t *testing.T) {
	windows := nodeOfRoles("windows", "worker")
	windows.Labels[corev1.LabelOSStable] = "windows"
	invalid, empty, missing := poolOfRole("invalid", ""), poolOfRole("empty", ""), poolOfRole("missing", "")
	invalid.Spec.NodeSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is"}}}
	empty.Spec.NodeSelector, missing.Spec.NodeSelector = &metav1.LabelSelector{}, nil
	pools := []*mcfgv1.MachineConfigPool{
		poolOfRole("worker", "worker"), poolOfRole("infra", "infra"), poolOfRole("gpu", "gpu"), poolOfRole("master", "master"),
		poolOfRole("control-plane", "control-plane"), invalid, empty, missing,
	}
	nodes := []Node{
		nodeOfRoles("plain", "worker"), nodeOfRoles("also-infra", "worker", "infra"), nodeOfRoles("only-infra", "infra"),
		nodeOfRoles("both", "worker", "infra", "gpu"), nodeOfRoles("single", "worker", "master", "control-plane", "infra", "gpu"),
		nodeOfRoles("newer", "control-plane", "worker"), nodeOfRoles("none"), windows,
	}
	for range 2 {
		got, problems := map[string][]string{}, map[string]string{}
		for name, m := range Assign(pools, nodes) {
			for _, n := range m.Nodes {
				got[name] = append(got[name], n.Name)
			}
			if len(m.Problems) > 0 {
				problems[name] = strings.Join(m.Problems, "; ")
			}
		}
		if want := map[string][]string{
			"worker": {"plain"}, "infra": {"also-infra", "only-infra"}, "master": {"single"}, "control-plane": {"newer"},
		}; !reflect.DeepEqual(got, want) {
			t.Errorf("assigned %v, want %v", got, want)
		}
		const both = `node "both" matches the pools gpu, infra: take away the label of all but one`
		if len(problems) != 3 || problems["infra"] != both || problems["gpu"] != both || !strings.Contains(problems["invalid"], "spec.nodeSelector") {
			t.Errorf("problems are %v", problems)
		}
		slices.Reverse(pools)
		slices.Reverse(nodes)
	}
}
