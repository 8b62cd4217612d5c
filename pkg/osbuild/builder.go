package osbuild

import (
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
)

// builder is what builds, one of the api.Builder values: what the settings say, or
// what the cluster has, where that can do what is asked for. It returns what is in
// the way of the one that was asked for by name.
func (in Inputs) builder(custom *dockerfile.File) (string, *Obstacle) {
	switch {
	case in.Settings.BuilderType == api.BuilderCustomPod, in.Settings.BuilderType == "" && !in.BuildsServed:
		return api.BuilderCustomPod, nil
	case !in.BuildsServed:
		return "", &Obstacle{api.ReasonInvalidConfig, fmt.Sprintf(
			"ConfigMap/%s, key %s: is %s, but the cluster serves no Builds of build.openshift.io/v1; install them with build-executor, use %s, or leave the key out",
			api.ConfigMapBuildConfig, api.KeyImageBuilderType, api.BuilderOpenShift, api.BuilderCustomPod)}
	}
	obstacle := onlyInPods(in, custom)
	if obstacle != nil && in.Settings.BuilderType == "" {
		return api.BuilderCustomPod, nil
	}
	return api.BuilderOpenShift, obstacle
}

// maxInlineDockerfile is how large a custom Dockerfile may be that has to fit into a
// Build: its spec.source.dockerfile takes 60,000 bytes (OpenShift's validation), some
// of which are ours.
const maxInlineDockerfile = 50_000

// onlyInPods returns which setting asks for something that Builds cannot do.
func onlyInPods(in Inputs, custom *dockerfile.File) *Obstacle {
	instead := fmt.Sprintf("; leave it out, or let %s be %s", api.KeyImageBuilderType, api.BuilderCustomPod)
	switch {
	case in.Settings.ConfigLayerOrder == api.ConfigLayerLast:
		return &Obstacle{api.ReasonInvalidConfig, fmt.Sprintf("ConfigMap/%s, key %s: is %q, which %s cannot do",
			api.ConfigMapBuildConfig, api.KeyConfigLayerOrder, api.ConfigLayerLast, api.BuilderOpenShift) + instead}
	case len(in.Settings.Architectures) > 0:
		return &Obstacle{api.ReasonInvalidConfig, fmt.Sprintf("ConfigMap/%s, key %s: %s builds for the architecture of its node alone",
			api.ConfigMapBuildConfig, api.KeyArchitectures, api.BuilderOpenShift) + instead}
	case len(in.CustomDockerfile) > maxInlineDockerfile:
		return &Obstacle{api.ReasonInvalidDockerfile, fmt.Sprintf("ConfigMap/%s, key %s: has %d bytes, of which a Build takes %d; shorten it, or let %s be %s",
			api.ConfigMapCustomDockerfile, in.Pool.Name, len(in.CustomDockerfile), maxInlineDockerfile, api.KeyImageBuilderType, api.BuilderCustomPod)}
	}
	if err := custom.FitsContext(); err != nil {
		return &Obstacle{api.ReasonInvalidDockerfile, fmt.Sprintf("ConfigMap/%s, key %s: a Build has one more stage before %s: %v; or let %s be %s",
			api.ConfigMapCustomDockerfile, in.Pool.Name, dockerfile.StageConfigs, err, api.KeyImageBuilderType, api.BuilderCustomPod)}
	}
	return nil
}

// builtBy is true for a build that the desired builder may go on with: its own, or
// one that has an image already.
func (d Desired) builtBy(b backend.Observation) bool {
	return b.Builder == d.Request.Builder || b.Phase == backend.PhaseSucceeded
}

// unusedKeys warns of settings that say nothing to the builder.
func unusedKeys(s buildconfig.Settings, builder string) []Warning {
	if builder != api.BuilderOpenShift {
		return nil
	}
	var unused []string
	for _, setting := range []struct {
		keys string
		said bool
	}{
		{api.KeyBuildCache, s.BuildCache == api.BuildCacheRegistry},
		{api.KeyBuildStoragePVC, s.StorageClaim != ""},
		{api.KeyLayerCompression, s.LayerCompression == api.CompressionZstd},
		{api.KeyBaseImagePollInterval, s.BaseImagePollInterval != 0},
		{api.KeyBuildPodTolerations, len(s.Scheduling.Tolerations) > 0},
		{api.KeyBuildPodPriorityClass, s.Scheduling.PriorityClassName != ""},
		{strings.Join([]string{api.KeyHTTPProxy, api.KeyHTTPSProxy, api.KeyNoProxy}, ", "), !s.Proxy.Config.IsZero()},
		{api.KeyProxySecretName, s.Proxy.SecretName != ""},
	} {
		if setting.said {
			unused = append(unused, setting.keys)
		}
	}
	if len(unused) == 0 {
		return nil
	}
	return []Warning{{api.EventUnusedKey, fmt.Sprintf("ConfigMap/%s has keys that %s does not use: %s; let %s be %s, or leave them out",
		api.ConfigMapBuildConfig, builder, strings.Join(unused, ", "), api.KeyImageBuilderType, api.BuilderCustomPod)}}
}
