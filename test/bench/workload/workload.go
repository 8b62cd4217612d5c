package workload

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Config makes a rendered config in the shape of a worker's: a hundred files of
// a kilobyte, of which half compresses away, and thirty units. It holds some
// 200 KB of JSON.
func Config(name string, random *rand.Rand) (*mcfgv1.MachineConfig, error) {
	var files, units []any
	for i := range 100 {
		text := make([]byte, 512)
		for j := range text {
			text[j] = "abcdefghijklmnopqrstuvwxyz\n  {}=/"[random.IntN(33)]
		}
		content := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("setting = default\n", 28) + string(text)))
		files = append(files, map[string]any{
			"path": fmt.Sprintf("/etc/bench/%d/%d.conf", i%10, i), "mode": 0o644, "overwrite": true,
			"contents": map[string]any{"source": "data:;base64," + content},
		})
	}
	for i := range 30 {
		units = append(units, map[string]any{
			"name": fmt.Sprintf("bench-%d.service", i), "enabled": true,
			"contents": fmt.Sprintf("[Service]\nExecStart=/bin/true %d\n[Install]\nWantedBy=multi-user.target\n", i),
		})
	}
	config, err := json.Marshal(map[string]any{
		"ignition": map[string]any{"version": "3.4.0"},
		"storage":  map[string]any{"files": files},
		"systemd":  map[string]any{"units": units},
	})
	if err != nil {
		return nil, fmt.Errorf("making a config: %w", err)
	}
	return &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: config}},
	}, nil
}

// Pool makes a pool as a cluster's own controllers keep it: with the sources of
// its config in spec and status, a status of machines, and their conditions.
func Pool(name, config string) *mcfgv1.MachineConfigPool {
	target := mcfgv1.MachineConfigPoolStatusConfiguration{ObjectReference: corev1.ObjectReference{Name: config}}
	for _, source := range []string{
		"00-worker", "01-worker-container-runtime", "01-worker-kubelet", "97-" + name + "-generated-kubelet",
		"98-" + name + "-generated-kubelet", "99-" + name + "-generated-registries", "99-" + name + "-ssh",
		"99-" + name + "-chrony", "99-" + name + "-sysctl", "99-" + name + "-multipath",
	} {
		target.Source = append(target.Source, corev1.ObjectReference{
			APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfig", Name: source,
		})
	}
	pool := &mcfgv1.MachineConfigPool{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pools.operator.machineconfiguration.openshift.io/" + name: ""}},
		Spec: mcfgv1.MachineConfigPoolSpec{
			MachineConfigSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
				Key: "machineconfiguration.openshift.io/role", Operator: metav1.LabelSelectorOpIn, Values: []string{"worker", name},
			}}},
			NodeSelector:  &metav1.LabelSelector{MatchLabels: map[string]string{"node-role.kubernetes.io/" + name: ""}},
			Configuration: target,
		},
		Status: mcfgv1.MachineConfigPoolStatus{Configuration: target, ObservedGeneration: 1, MachineCount: 3, UpdatedMachineCount: 3, ReadyMachineCount: 3},
	}
	for _, kind := range []mcfgv1.MachineConfigPoolConditionType{
		mcfgv1.MachineConfigPoolUpdated, mcfgv1.MachineConfigPoolUpdating, mcfgv1.MachineConfigPoolDegraded,
		mcfgv1.MachineConfigPoolNodeDegraded, mcfgv1.MachineConfigPoolRenderDegraded,
	} {
		status := corev1.ConditionFalse
		if kind == mcfgv1.MachineConfigPoolUpdated {
			status = corev1.ConditionTrue
		}
		pool.Status.Conditions = append(pool.Status.Conditions, mcfgv1.MachineConfigPoolCondition{Type: kind, Status: status})
	}
	return pool
}
