package manifests

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildpod"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// TestSCCAllowsBuilds: OpenShift refuses a pod that adds a capability or has a kind of volume
// which its SecurityContextConstraints do not list, or escalates where they forbid it.
func TestSCCAllowsBuilds(t *testing.T) {
	var scc struct {
		AllowPrivilegeEscalation bool                `json:"allowPrivilegeEscalation"`
		AllowedCapabilities      []corev1.Capability `json:"allowedCapabilities"`
		RequiredDropCapabilities []corev1.Capability `json:"requiredDropCapabilities"`
		Volumes                  []string            `json:"volumes"`
		FSGroup                  struct {
			Type string `json:"type"`
		} `json:"fsGroup"`
	}
	for _, object := range build(t, "manifests/overlays/openshift") {
		if kindOf(t, object) == "SecurityContextConstraints" {
			if err := yaml.Unmarshal(object, &scc); err != nil {
				t.Fatal(err)
			}
		}
	}
	pod := buildpod.New(buildspec.Request{CustomContent: true, RenderedConfig: "rendered-worker-1"})
	for _, kind := range []string{"emptyDir", "persistentVolumeClaim", "projected", "secret"} {
		if !slices.Contains(scc.Volumes, kind) {
			t.Errorf("volumes of kind %s are not allowed", kind)
		}
	}
	if scc.FSGroup.Type != "RunAsAny" {
		t.Errorf("fsGroup is %s: the builder's own is not allowed", scc.FSGroup.Type)
	}
	var added []corev1.Capability
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		added = append(added, c.SecurityContext.Capabilities.Add...)
		if *c.SecurityContext.AllowPrivilegeEscalation && !scc.AllowPrivilegeEscalation {
			t.Errorf("container %s escalates, which is not allowed", c.Name)
		}
	}
	for _, capability := range added {
		if !slices.Contains(scc.AllowedCapabilities, capability) || slices.Contains(scc.RequiredDropCapabilities, capability) {
			t.Errorf("capability %s is added and not allowed", capability)
		}
	}
	for _, capability := range scc.AllowedCapabilities {
		if !slices.Contains(added, capability) {
			t.Errorf("capability %s is allowed and no build adds it", capability)
		}
	}
}
