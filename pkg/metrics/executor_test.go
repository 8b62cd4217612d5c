package metrics_test

import (
	"testing"

	buildv1 "github.com/openshift/api/build/v1"
	buildlisters "github.com/openshift/client-go/build/listers/build/v1"
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
)

func TestExecutor(t *testing.T) {
	store := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for name, phase := range map[string]buildv1.BuildPhase{"a": "", "b": "New", "c": "Running", "d": "Complete", "e": "Complete"} {
		if err := store.Add(&buildv1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}, Status: buildv1.BuildStatus{Phase: phase}}); err != nil {
			t.Fatal(err)
		}
	}
	r := prometheus.NewRegistry()
	r.MustRegister(metrics.NewExecutor(buildlisters.NewBuildLister(store)))
	wantSamples(t, r, []string{
		`build_executor_builds{phase="Cancelled"} 0`, `build_executor_builds{phase="Complete"} 2`, `build_executor_builds{phase="Error"} 0`,
		`build_executor_builds{phase="Failed"} 0`, `build_executor_builds{phase="New"} 2`, `build_executor_builds{phase="Pending"} 0`, `build_executor_builds{phase="Running"} 1`,
	}, "build_executor_builds")
}
