package buildpod

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// DefaultVolumeLimit is the most that each of a build's directories may hold where
// buildPodResources says nothing of it.
const DefaultVolumeLimit = "20Gi"

// What a build gets where buildPodResources says nothing of it. Without a
// request a pod is the first to go when its node runs out of memory; without a
// limit a Dockerfile could fill the node's disk.
var (
	defaultRequests = corev1.ResourceList{
		corev1.ResourceCPU:    resource.MustParse("100m"),
		corev1.ResourceMemory: resource.MustParse("128Mi"),
	}
	defaultVolumeLimit = resource.MustParse(DefaultVolumeLimit)
)

// withRequests adds the default requests of resources that are not mentioned.
func withRequests(r corev1.ResourceRequirements) corev1.ResourceRequirements {
	out := *r.DeepCopy()
	for name, quantity := range defaultRequests {
		_, requested := r.Requests[name]
		_, limited := r.Limits[name]
		if requested || limited {
			continue
		}
		if out.Requests == nil {
			out.Requests = corev1.ResourceList{}
		}
		out.Requests[name] = quantity.DeepCopy()
	}
	return out
}

// volumeLimit is the most that one of a build's directories may hold: as much
// as a container may write to its node.
func volumeLimit(r corev1.ResourceRequirements) *resource.Quantity {
	limit, found := r.Limits[corev1.ResourceEphemeralStorage]
	if !found {
		limit = defaultVolumeLimit
	}
	limit = limit.DeepCopy()
	return &limit
}
