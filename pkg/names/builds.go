package names

import (
	"fmt"
	"hash/fnv"
	"strings"
)

const buildPodSuffix = "build"

// BuildPod is the name of the pod that runs a Build of build.openshift.io/v1:
// OpenShift's own rule, so that "logs pod/<build>-build" finds it everywhere. A
// name that leaves no room is cut, with its FNV-1a hash of 32 bits in between.
func BuildPod(build string) string {
	if whole := build + "-" + buildPodSuffix; len(whole) <= maxObjectName {
		return whole
	}
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(build)) // it never fails
	tail := fmt.Sprintf("-%08x-%s", hash.Sum32(), buildPodSuffix)
	return build[:maxObjectName-len(tail)] + tail
}

// BuildLabel is the value of the label openshift.io/build.name on that pod: the
// Build's name or, where a label has no room for it, its beginning. Two Builds may
// have the same, so the pod's annotation of that key tells whose it is.
func BuildLabel(build string) string {
	if len(build) <= maxLabelValue {
		return build
	}
	return strings.TrimRight(build[:maxLabelValue], "-_.")
}
