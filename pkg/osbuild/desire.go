package osbuild

import (
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// Inputs is what users and the cluster asked for.
type Inputs struct {
	Pool buildspec.Pool
	// OptedIn: the pool carries the opt-in label and is not being deleted.
	OptedIn bool
	// TargetConfig is the rendered config that the pool targets; empty before the first render.
	TargetConfig string
	// RenderDegraded is the message of the pool's RenderDegraded condition while True.
	RenderDegraded *string
	// Config is the rendered config itself; nil while it does not exist.
	Config   *RenderedConfig
	Settings buildconfig.Settings
	// Problems of the settings and, once they were read, of the Secrets.
	Problems buildconfig.Problems
	// Network is how a build reaches registries; it is read when one starts.
	Network buildspec.Network
	// CustomDockerfile is the pool's text, possibly empty.
	CustomDockerfile string
	// RebuildToken is the pool's annotation or, when it was removed again, the
	// token that the last build of the target config answered.
	RebuildToken string
	// RebuildRequest is the pool's annotation.
	RebuildRequest string
	// BuildsServed: the cluster has Builds of build.openshift.io.
	BuildsServed bool
	// DefaultBuilderImage is the product's own.
	DefaultBuilderImage string
	// Architecture is the product's own, which steps run for where nobody says another.
	Architecture string
}

// Desired is what a pool should have: nothing, an image, or a reason why not.
type Desired struct {
	// Pool and TargetConfig are as in Inputs.
	Pool         buildspec.Pool
	TargetConfig string
	// OptedOut: nothing of ours may be left.
	OptedOut bool
	// Blocked: the user must act before anything can be built.
	Blocked *Obstacle
	// Waiting: something else must happen first; nobody has to act.
	Waiting *Obstacle
	// Request is the image to have; set unless one of the above is. Its
	// MachineConfig payload is left to whoever starts it.
	Request *buildspec.Request
	// Config is the summary of the rendered config, when there is a Request.
	Config RenderedConfig
	// Fingerprint is what the request's ID was computed from.
	Fingerprint names.Inputs
	// MaxRetries is the limit that the plan obeys.
	MaxRetries int
	// RebuildRequest is as in Inputs.
	RebuildRequest string
	// Warnings are for the administrator and stop nothing.
	Warnings []Warning
}

// Warning is an event reason of pkg/api and a text.
type Warning struct {
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

// Obstacle is a condition reason and a message.
type Obstacle struct {
	Reason  string
	Message string
}

// Desire computes what the pool should have.
func Desire(in Inputs) Desired {
	d := Desired{Pool: in.Pool, TargetConfig: in.TargetConfig, MaxRetries: in.Settings.MaxBuildRetries, RebuildRequest: in.RebuildRequest}
	if len(in.Settings.UnknownKeys) > 0 {
		d.Warnings = append(d.Warnings, Warning{api.EventUnknownKey, fmt.Sprintf("ConfigMap/%s has unknown keys that are ignored: %s",
			api.ConfigMapBuildConfig, strings.Join(in.Settings.UnknownKeys, ", "))})
	}
	if !in.OptedIn {
		d.OptedOut = true
		return d
	}
	if in.Config != nil {
		d.Warnings = append(d.Warnings, in.Config.Warnings...)
	}
	if d.Waiting = waitForRender(in); d.Waiting != nil {
		return d
	}
	custom, obstacle := check(in)
	if obstacle != nil {
		d.Blocked = obstacle
		return d
	}
	d.Request, d.Blocked = request(in, custom)
	if d.Request != nil {
		d.Config, d.Fingerprint = *in.Config, fingerprint(in, d.Request)
		d.Request.ID = names.InputsHash(d.Fingerprint)
		d.Request.ImageLabels[api.ImageLabelInputsHash] = names.ImageHash(d.Fingerprint)
		d.Warnings = append(d.Warnings, unusedKeys(in.Settings, d.Request.Builder)...)
	}
	return d
}

func waitForRender(in Inputs) *Obstacle {
	switch {
	case in.RenderDegraded != nil:
		return &Obstacle{api.ReasonWaitingForRender, "the pool is RenderDegraded: " + *in.RenderDegraded}
	case in.TargetConfig == "":
		return &Obstacle{api.ReasonWaitingForRender, "spec.configuration.name of the pool is empty: no rendered MachineConfig yet"}
	case in.Config == nil && strings.HasPrefix(in.TargetConfig, names.RenderedPrefix):
		return &Obstacle{api.ReasonWaitingForRender, fmt.Sprintf("MachineConfig %q, which the pool targets, does not exist yet", in.TargetConfig)}
	}
	return nil
}

// check returns the parsed custom Dockerfile, or what the user has to mend.
func check(in Inputs) (*dockerfile.File, *Obstacle) {
	if !strings.HasPrefix(in.TargetConfig, names.RenderedPrefix) {
		return nil, &Obstacle{api.ReasonInvalidRenderedConfig, fmt.Sprintf(
			"spec.configuration.name of the pool is %q, which is no rendered MachineConfig (%s<pool>-<hash>); let the render controller set it", in.TargetConfig, names.RenderedPrefix)}
	}
	if in.Config.Unsupported != nil {
		return nil, &Obstacle{api.ReasonInvalidRenderedConfig, fmt.Sprintf("MachineConfig %q cannot be built: %v", in.TargetConfig, in.Config.Unsupported)}
	}
	if len(in.Problems) > 0 {
		return nil, &Obstacle{api.ReasonInvalidConfig, in.Problems.String()}
	}
	custom, err := dockerfile.Parse(in.CustomDockerfile)
	if err != nil {
		return nil, &Obstacle{api.ReasonInvalidDockerfile, fmt.Sprintf("ConfigMap/%s, key %s: %v", api.ConfigMapCustomDockerfile, in.Pool.Name, err)}
	}
	return custom, nil
}

func request(in Inputs, custom *dockerfile.File) (*buildspec.Request, *Obstacle) {
	base, err := baseImage(in)
	if err != nil {
		return nil, &Obstacle{api.ReasonInvalidConfig, err.Error()}
	}
	runs := custom.NeedsBuild() || !in.Config.Packages.IsZero()
	configs := dockerfile.Configs{
		Base: base, Packages: in.Config.Packages, ConfigLast: runs && in.Settings.ConfigLayerOrder == api.ConfigLayerLast,
	}
	if !configs.Packages.IsZero() {
		if configs.Extensions, err = usedExtensionsImage(in); err != nil {
			return nil, &Obstacle{api.ReasonInvalidConfig, err.Error()}
		}
	}
	kind, obstacle := in.builder(custom)
	if obstacle != nil {
		return nil, obstacle
	}
	rendered, err := custom.Render(configs)
	if err != nil {
		return nil, &Obstacle{api.ReasonInvalidDockerfile, err.Error()}
	}
	builder := in.Settings.BuilderImage
	if builder == "" {
		builder = in.DefaultBuilderImage
	}
	architectures, scheduling, obstacle := in.platforms(runs, kind)
	if obstacle != nil {
		return nil, obstacle
	}
	return &buildspec.Request{
		Pool:             in.Pool,
		RenderedConfig:   in.TargetConfig,
		Builder:          kind,
		Object:           buildspec.Objects(names.RunKind(kind), names.Builds(in.TargetConfig, architectures)),
		Architectures:    architectures,
		Dockerfile:       rendered,
		CustomContent:    runs,
		ConfigLayerLast:  configs.ConfigLast,
		BaseImage:        base,
		FinalImage:       in.Settings.Repository + ":" + names.Tag(in.TargetConfig),
		ImageLabels:      imageLabels(in, base),
		Credentials:      in.Settings.Credentials(),
		Network:          in.Network,
		BuilderImage:     builder,
		LayerCompression: in.Settings.LayerCompression,
		BuildCache:       buildCache(in, runs),
		StorageClaim:     storageClaim(in, runs),
		Timeout:          in.Settings.BuildTimeout,
		Scheduling:       scheduling,
		RebuildToken:     in.RebuildToken,
	}, nil
}

// buildCache is the pool's own: what one pool's steps leave never gets into another
// pool's image.
func buildCache(in Inputs, runs bool) string {
	if !runs || in.Settings.BuildCache != api.BuildCacheRegistry {
		return ""
	}
	return names.BuildCacheID(in.Pool.Name, string(in.Pool.UID))
}

// storageClaim is none where no base is pulled.
func storageClaim(in Inputs, runs bool) string {
	if !runs {
		return ""
	}
	return in.Settings.StorageClaim
}

func baseImage(in Inputs) (string, error) {
	if in.Config.OSImageURL == "" {
		if in.Settings.BaseImage == "" {
			return "", fmt.Errorf("no base image: spec.osImageURL of MachineConfig %q is empty and ConfigMap/%s has no %s; set one of them",
				in.TargetConfig, api.ConfigMapOSImageURL, api.KeyBaseOSContainerImage)
		}
		return in.Settings.BaseImage, nil
	}
	if err := buildconfig.CheckPullspec(in.Config.OSImageURL); err != nil {
		return "", fmt.Errorf("spec.osImageURL of MachineConfig %q: %w", in.TargetConfig, err)
	}
	return in.Config.OSImageURL, nil
}

func extensionsImage(in Inputs) string {
	if in.Config.ExtensionsImage != "" {
		return in.Config.ExtensionsImage
	}
	return in.Settings.ExtensionsImage
}

// usedExtensionsImage is the extensions image where something is installed from it.
func usedExtensionsImage(in Inputs) (string, error) {
	if in.Config.ExtensionsImage != "" {
		if err := buildconfig.CheckPullspec(in.Config.ExtensionsImage); err != nil {
			return "", fmt.Errorf("spec.baseOSExtensionsContainerImage of MachineConfig %q: %w", in.TargetConfig, err)
		}
	}
	image := extensionsImage(in)
	if image == "" {
		return "", fmt.Errorf("no extensions image to install %s from, which MachineConfig %q asks for: its spec.baseOSExtensionsContainerImage is empty and ConfigMap/%s has no %s; set one of them",
			in.Config.Packages, in.TargetConfig, api.ConfigMapOSImageURL, api.KeyBaseOSExtensionsContainerImage)
	}
	return image, nil
}

func imageLabels(in Inputs, base string) map[string]string {
	labels := map[string]string{
		api.ImageLabelMachineConfig:     in.TargetConfig,
		api.ImageLabelMachineConfigPool: in.Pool.Name,
		api.ImageLabelReleaseVersion:    in.Settings.ReleaseVersion,
		api.ImageLabelBaseImage:         base,
	}
	if ext := extensionsImage(in); ext != "" {
		labels[api.ImageLabelExtensionsImage] = ext
	}
	return labels
}

func fingerprint(in Inputs, r *buildspec.Request) names.Inputs {
	inputs := names.Inputs{
		Pool:             in.Pool.Name,
		MachineConfig:    in.Config.SpecHash,
		RenderedConfig:   in.TargetConfig,
		BaseImage:        r.BaseImage,
		ExtensionsImage:  extensionsImage(in),
		CustomDockerfile: names.Content([]byte(in.CustomDockerfile)),
		ReleaseVersion:   in.Settings.ReleaseVersion,
		Repository:       in.Settings.Repository,
		RebuildToken:     in.RebuildToken,
		Architectures:    strings.Join(r.Architectures, ","),
	}
	if r.ConfigLayerLast {
		inputs.ConfigLayerOrder = in.Settings.ConfigLayerOrder
	}
	return inputs
}
