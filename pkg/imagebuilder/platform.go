package imagebuilder

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// system is what all images are for.
const system = "linux"

// labelArchitecture is the kubelet's label of a node.
const labelArchitecture = "kubernetes.io/arch"

// forPlatform picks the image for an architecture, or when that is empty, the
// one that this machine can run steps in.
func forPlatform(base *registry.Base, architecture string) (*registry.BaseImage, error) {
	if image := base.Image(machineOr(architecture)); image != nil {
		return image, nil
	}
	var have []string
	for _, image := range base.Images {
		have = append(have, image.Platform)
	}
	platforms := strings.Join(have, ", ")
	if architecture == "" {
		return nil, fail(api.ReasonPullFailed, fmt.Errorf("choosing the image of %s: this node is %s/%s, the image is for %s; let %s of ConfigMap %s choose by the label %s nodes that the image is for, or name an image that is for %s/%s too",
			base.Name, system, runtime.GOARCH, platforms, api.KeyBuildPodNodeSelector, api.ConfigMapBuildConfig, labelArchitecture, system, runtime.GOARCH))
	}
	return nil, fail(api.ReasonPullFailed, fmt.Errorf("choosing the image of %s: %s of ConfigMap %s lists %s, the image is for %s; name an image that is for %s/%s too, or take %s out of the list",
		base.Name, api.KeyArchitectures, api.ConfigMapBuildConfig, architecture, platforms, system, architecture, architecture))
}

func machineOr(architecture string) string {
	if architecture == "" {
		return runtime.GOARCH
	}
	return architecture
}

// basesOf are the digests of the images of a base, by architecture.
func basesOf(base *registry.Base) map[string]string {
	digests := map[string]string{}
	for _, image := range base.Images {
		_, rest, _ := strings.Cut(image.Platform, "/")
		architecture := architectureOf(rest)
		if chosen := base.Image(architecture); chosen != nil {
			digests[architecture] = chosen.Digest
		}
	}
	return digests
}

// architectureOf drops the variant of "arm64/v8".
func architectureOf(architectureAndVariant string) string {
	architecture, _, _ := strings.Cut(architectureAndVariant, "/")
	return architecture
}

// foreign is the architecture of a platform that is not this machine's; empty for
// one that is.
func foreign(platform string) string {
	_, rest, _ := strings.Cut(platform, "/")
	if architecture := architectureOf(rest); architecture != runtime.GOARCH {
		return architecture
	}
	return ""
}

// platformFlags tell buildah of a platform that it would not choose by itself.
func platformFlags(platform string) []string {
	if architecture := foreign(platform); architecture != "" {
		return []string{"--platform", system + "/" + architecture}
	}
	return nil
}

// explainForeign says why a step cannot run: its programs are for another
// architecture than the node.
func explainForeign(err error, platform string, log *buildah.Log) error {
	architecture := foreign(platform)
	output := append(slices.Clone(log.Output.Lines()), log.Cause)
	if architecture == "" || !slices.ContainsFunc(output, func(line string) bool { return strings.Contains(line, "exec format error") }) {
		return err
	}
	return fmt.Errorf("%w: the image is for %s, this node is %s, and nothing emulates another architecture here; let %s of ConfigMap %s choose nodes that are %s, or use no instruction but those that run nothing, such as COPY",
		err, architecture, runtime.GOARCH, api.KeyArchitectureSelectors, api.ConfigMapBuildConfig, architecture)
}
