package osbuild

import (
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// TestStepsRunForTheControllersArchitecture, whatever nodes there are.
func TestStepsRunForTheControllersArchitecture(t *testing.T) {
	f := newFixture()
	f.maps = append(f.maps, setting(api.ConfigMapCustomDockerfile, "worker", "FROM configs AS final\nRUN true\n"))
	v, err := f.start(t).observe(t.Context(), "worker", false)
	if err != nil || v.desired.Request == nil {
		t.Fatalf("%+v, %v", v, err)
	}
	if got := v.desired.Request.Scheduling.NodeSelector[corev1.LabelArchStable]; got != runtime.GOARCH {
		t.Errorf("its nodes are %q, want %q", got, runtime.GOARCH)
	}
}
