package names

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// Limits of the Kubernetes API (apimachinery, pkg/util/validation) and of an
// image tag (OCI distribution specification, "Pulling manifests").
const (
	maxObjectName = 253
	maxLabelValue = 63
	maxTag        = 128
)

// RenderedPrefix begins the name of every rendered MachineConfig.
const RenderedPrefix = "rendered-"

// renderedHash is how much of a content's hash a rendered config's name carries:
// 128 bits, as OpenShift's names do.
const renderedHash = 32

// Rendered is the name of a pool's rendered MachineConfig. content is Content of
// its spec: another spec has another name. A pool's name that leaves no room is
// shortened, as in every object's name.
func Rendered(pool, content string) string {
	room := maxObjectName - len(RenderedPrefix) - len("-") - renderedHash
	return RenderedPrefix + shorten(pool, room) + "-" + content[:renderedHash]
}

// IsRendered is true for a name that a rendered config of a pool may have, whoever
// gave it.
func IsRendered(name, pool string) bool {
	content := name[strings.LastIndex(name, "-")+1:]
	return len(content) == renderedHash && name == Rendered(pool, content)
}

// RunKind is what users call the objects in which a builder, one of the api.Builder
// values, builds: pod or build.
func RunKind(builder string) string {
	if builder == api.BuilderOpenShift {
		return "build"
	}
	return "pod"
}

// Build is the name of the pod or Build that builds a rendered config.
func Build(rendered string) string { return object("build-"+rendered, "") }

// BuildFor is the name of the pod that builds a rendered config for one of
// several architectures.
func BuildFor(rendered, architecture string) string {
	return object("build-"+rendered, "-"+architecture)
}

// Builds are the names of the pods that build a rendered config: one for each
// architecture, or the one when there are none.
func Builds(rendered string, architectures []string) []string {
	if len(architectures) == 0 {
		return []string{Build(rendered)}
	}
	pods := make([]string, len(architectures))
	for i, architecture := range architectures {
		pods[i] = BuildFor(rendered, architecture)
	}
	return pods
}

// MachineConfigMap is the name of the ConfigMap with the i-th chunk, from 0,
// of a rendered config.
func MachineConfigMap(rendered string, i int) string { return chunk("mc-"+rendered, i) }

// DockerfileMap is the name of the ConfigMap with the i-th chunk, from 0, of
// the rendered Dockerfile.
func DockerfileMap(rendered string, i int) string { return chunk("dockerfile-"+rendered, i) }

// NetworkMap is the name of the ConfigMap with how a build reaches registries.
func NetworkMap(rendered string) string { return object("network-"+rendered, "") }

func chunk(base string, i int) string {
	if i == 0 {
		return object(base, "")
	}
	return object(base, fmt.Sprintf("-%d", i))
}

// Record is the name of the ConfigMap with the build record.
func Record(rendered string) string { return object("digest-"+rendered, "") }

// LabelValue is s where a label value can hold it, else its beginning and a
// hash of the whole.
func LabelValue(s string) string { return shorten(s, maxLabelValue) }

// Tag is the image tag of a rendered config.
func Tag(rendered string) string { return shorten(rendered, maxTag) }

// memberRun is how much of a run's hash a member's tag carries.
const memberRun = 12

// MemberTag is the tag under which a run keeps its image for one architecture
// until there is an index, beside the final image's tag.
func MemberTag(tag, architecture, run string) string {
	suffix := "-" + architecture + "-" + Content([]byte(run))[:memberRun]
	return shorten(tag, maxTag-len(suffix)) + suffix
}

func object(base, suffix string) string {
	return shorten(base, maxObjectName-len(suffix)) + suffix
}

// shorten cuts s to limit bytes; what is cut away is stood for by a hash of
// the whole, so that two long names stay different.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	tail := "-" + hex.EncodeToString(sum[:8])
	return strings.TrimRight(s[:limit-len(tail)], "-_.") + tail
}
