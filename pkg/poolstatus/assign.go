package poolstatus

import (
	"fmt"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Names of the pools that are no custom ones.
const (
	poolMaster       = "master"
	poolControlPlane = "control-plane"
	poolWorker       = "worker"
)

// Members are the nodes that belong to a pool.
type Members struct {
	Nodes []Node
	// Problems say which nodes nobody can assign, or why the pool has none.
	Problems []string
}

// Assign says for each pool, by name, which nodes belong to it, in the order of
// their names. A pool's nodeSelector matches nodes by label; a missing or empty
// one matches none.
//
// Of several pools that match a node, the control plane's wins over all, a custom
// pool over worker. A node of two custom pools belongs to neither, as its agent
// cannot follow both: both have a problem. So has a pool whose selector is invalid.
func Assign(pools []*mcfgv1.MachineConfigPool, nodes []Node) map[string]*Members {
	members := make(map[string]*Members, len(pools))
	candidates := make([]candidate, 0, len(pools))
	for _, p := range pools {
		m := &Members{}
		members[p.Name] = m
		selector, err := metav1.LabelSelectorAsSelector(p.Spec.NodeSelector)
		if err != nil {
			m.Problems = append(m.Problems, "spec.nodeSelector of the pool is no valid label selector: correct its keys, operators and values")
			continue
		}
		if p.Spec.NodeSelector != nil && !selector.Empty() {
			candidates = append(candidates, candidate{p.Name, rank(p.Name), selector})
		}
	}
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range nodes {
		first := firstOf(candidates, n)
		if len(first) == 1 {
			m := members[first[0]]
			m.Nodes = append(m.Nodes, n)
			continue
		}
		for _, name := range first {
			members[name].Problems = append(members[name].Problems, fmt.Sprintf(
				"node %q matches the pools %s: take away the label of all but one", n.Name, strings.Join(first, ", ")))
		}
	}
	return members
}

// Selects is true when a pool's nodeSelector matches one of the nodes. Whether
// it also has that node only Assign tells.
func Selects(pool *mcfgv1.MachineConfigPool, nodes ...Node) bool {
	selector, err := metav1.LabelSelectorAsSelector(pool.Spec.NodeSelector)
	return err == nil && !selector.Empty() && slices.ContainsFunc(nodes, func(n Node) bool {
		return selector.Matches(labels.Set(n.Labels))
	})
}

type candidate struct {
	pool     string
	rank     int
	selector labels.Selector
}

// rank orders pools by which of them has a node that several match.
func rank(pool string) int {
	order := []string{poolMaster, poolControlPlane, "", poolWorker}
	if i := slices.Index(order, pool); i >= 0 {
		return i
	}
	return slices.Index(order, "")
}

// firstOf returns the pools of the first rank that match a node, sorted.
func firstOf(candidates []candidate, n Node) []string {
	var first []string
	if n.Labels[corev1.LabelOSStable] == "windows" {
		return nil
	}
	lowest := rank(poolWorker)
	for _, c := range candidates {
		switch {
		case c.rank > lowest || !c.selector.Matches(labels.Set(n.Labels)):
		case c.rank < lowest:
			first, lowest = []string{c.pool}, c.rank
		default:
			first = append(first, c.pool)
		}
	}
	slices.Sort(first)
	return first
}
