package manifests

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// restrictedViolations lists what in a pod spec the restricted level of the Pod
// Security Standards forbids, as far as a Deployment of ours could break it,
// and a root file system that can be written to, which the level allows.
func restrictedViolations(spec corev1.PodSpec) []string {
	var found []string
	if spec.HostNetwork || spec.HostPID || spec.HostIPC {
		found = append(found, "shares a namespace with the host")
	}
	for _, volume := range spec.Volumes {
		if volume.HostPath != nil {
			found = append(found, fmt.Sprintf("volume %q is a path of the host", volume.Name))
		}
	}
	pod := spec.SecurityContext
	if pod == nil {
		pod = &corev1.PodSecurityContext{}
	}
	if pod.RunAsNonRoot == nil || !*pod.RunAsNonRoot || pod.RunAsUser == nil || *pod.RunAsUser == 0 {
		found = append(found, "may run as root")
	}
	if pod.SeccompProfile == nil || pod.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		found = append(found, "has no seccomp profile")
	}
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, problem := range containerViolations(container.SecurityContext) {
			found = append(found, fmt.Sprintf("container %q %s", container.Name, problem))
		}
	}
	return found
}

func containerViolations(context *corev1.SecurityContext) []string {
	if context == nil {
		return []string{"has no security context"}
	}
	var found []string
	if context.AllowPrivilegeEscalation == nil || *context.AllowPrivilegeEscalation {
		found = append(found, "allows privilege escalation")
	}
	if context.Privileged != nil && *context.Privileged {
		found = append(found, "is privileged")
	}
	if context.ReadOnlyRootFilesystem == nil || !*context.ReadOnlyRootFilesystem {
		found = append(found, "can write to its root file system")
	}
	if context.Capabilities == nil || !slices.Contains(context.Capabilities.Drop, "ALL") || len(context.Capabilities.Add) > 0 {
		found = append(found, "keeps capabilities")
	}
	if context.RunAsUser != nil || context.RunAsNonRoot != nil || context.SeccompProfile != nil {
		found = append(found, "overrides what the pod says")
	}
	return found
}

func TestRestrictedViolations(t *testing.T) {
	deployment := deploymentOf(t, "manifests/base")
	for name, breakIt := range map[string]func(*corev1.PodSpec){
		"host network": func(spec *corev1.PodSpec) { spec.HostNetwork = true },
		"root":         func(spec *corev1.PodSpec) { *spec.SecurityContext.RunAsUser = 0 },
		"no seccomp":   func(spec *corev1.PodSpec) { spec.SecurityContext.SeccompProfile = nil },
		"no context":   func(spec *corev1.PodSpec) { spec.Containers[0].SecurityContext = nil },
		"escalation":   func(spec *corev1.PodSpec) { *spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = true },
		"capability added": func(spec *corev1.PodSpec) {
			spec.Containers[0].SecurityContext.Capabilities.Add = []corev1.Capability{"NET_RAW"}
		},
		"writable root": func(spec *corev1.PodSpec) { spec.Containers[0].SecurityContext.ReadOnlyRootFilesystem = nil },
	} {
		t.Run(name, func(t *testing.T) {
			spec := deployment.Spec.Template.Spec.DeepCopy()
			breakIt(spec)
			if found := restrictedViolations(*spec); len(found) != 1 {
				t.Errorf("violations are %q, want one", found)
			}
		})
	}
}
