package integration

import (
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// TestRebuildOfTheSameImage writes nothing of the pool but its conditions: who watches
// the result is not woken.
func TestRebuildOfTheSameImage(t *testing.T) {
	const config = "rendered-worker-a1"
	w := newWorld(t)
	w.addPool("worker", config)
	w.patchPool("worker", optIn)
	w.Start()
	first := w.podOf(config)
	digest := w.push(config)
	w.finish(first.Name, buildspec.Result{Succeeded: true, Digest: digest})
	w.annotated("worker", config, digest)
	w.goneSoon("configmap", "mc-"+config)
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
	const result = "PATCH /apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker"
	results := func() (n int) {
		for _, write := range w.Requests.Writes() {
			if write == result {
				n++
			}
		}
		return n
	}
	if n := results(); n != 1 {
		t.Errorf("the first result was written %d times", n)
	}
	before := w.pool("worker").Annotations
	w.patchPool("worker", `{"metadata":{"annotations":{"`+api.AnnotationRebuild+`":"1"}}}`)
	again := w.podOf(config)
	w.finish(again.Name, buildspec.Result{Succeeded: true, Digest: digest})
	w.goneSoon("configmap", "mc-"+config)
	w.verdict("worker", mcfgv1.MachineConfigPoolBuildSuccess, api.ReasonBuildSucceeded)
	if first.UID == again.UID {
		t.Fatal("there was no rebuild")
	}
	if n := results(); n != 0 {
		t.Errorf("the same result was written %d times more", n)
	}
	after := w.pool("worker").Annotations
	for key, value := range before {
		if after[key] != value {
			t.Errorf("annotation %s is %q, was %q", key, after[key], value)
		}
	}
	if record := w.record(config); record.RebuildToken != "1" || !strings.HasSuffix(record.Image, digest) {
		t.Errorf("record %+v", record)
	}
}
