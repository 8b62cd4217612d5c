package render

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

func TestCollectable(t *testing.T) {
	worker := pool("worker", "worker")
	made := func(name string, hour int, change ...func(*mcfgv1.MachineConfig)) *mcfgv1.MachineConfig {
		mc := &mcfgv1.MachineConfig{ObjectMeta: metav1.ObjectMeta{
			Name: name, CreationTimestamp: metav1.Unix(int64(hour)*3600, 0),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(worker, poolKind)},
		}}
		for _, c := range change {
			c(mc)
		}
		return mc
	}
	of := func(p *mcfgv1.MachineConfigPool) func(*mcfgv1.MachineConfig) {
		return func(mc *mcfgv1.MachineConfig) {
			mc.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(p, poolKind)}
		}
	}
	configs := []*mcfgv1.MachineConfig{
		made("a", 1), made("b", 2), made("b2", 2), made("c", 3), made("d", 4), made("e", 5), made("f", 6), made("g", 7),
		made("newer-1", 8), made("newer-2", 8), made("newest", 9),
		made("going", 0, func(mc *mcfgv1.MachineConfig) { mc.DeletionTimestamp = &metav1.Time{Time: time.Unix(9, 0)} }),
		made("others", 0, of(pool("infra"))),
		made("nobodys", 0, func(mc *mcfgv1.MachineConfig) { mc.OwnerReferences = nil }),
	}
	named := Names{}
	named.Add("c", "")
	named.AddPool(&mcfgv1.MachineConfigPool{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{api.AnnotationImageConfig: "d"}},
		Spec:       mcfgv1.MachineConfigPoolSpec{Configuration: mcfgv1.MachineConfigPoolStatusConfiguration{ObjectReference: corev1.ObjectReference{Name: "e"}}},
		Status:     mcfgv1.MachineConfigPoolStatus{Configuration: mcfgv1.MachineConfigPoolStatusConfiguration{ObjectReference: corev1.ObjectReference{Name: "f"}}},
	})
	named.AddNode(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{api.AnnotationCurrentConfig: "a", api.AnnotationDesiredConfig: "g"}}})
	named.AddNode(&corev1.Node{})
	for range 20 {
		if got := Collectable(worker, configs, named); !reflect.DeepEqual(got, []string{"b", "b2"}) {
			t.Fatalf("collectable are %v", got)
		}
		rand.Shuffle(len(configs), func(i, j int) { configs[i], configs[j] = configs[j], configs[i] })
	}
	if got := Collectable(worker, configs[:0], named); got != nil {
		t.Errorf("of none %v are collectable", got)
	}
}
