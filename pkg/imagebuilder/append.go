package imagebuilder

import (
	"context"
	"errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// layerHistory is the history entry of the config layer.
const layerHistory = "machine-os-builder: MachineConfig laid in"

// AppendOptions are the inputs of Append.
type AppendOptions struct {
	registryaccess.Access
	MachineConfigDir    string
	MachineConfigSHA256 string
	BaseImage           string
	FinalImage          string
	Labels              map[string]string
	Compression         registry.Compression
}

// Append makes and pushes an image in which nothing has to run. The result is
// filled as far as the work got.
func Append(ctx context.Context, options AppendOptions, progress *steplog.Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	clients, err := options.Access.Clients()
	if err != nil {
		return result, err
	}
	defer func() {
		traffic := clients.Traffic()
		result.BytesPulled, result.BytesPushed = traffic.Down, traffic.Up
	}()

	progress.Step("config", "reading the MachineConfig")
	config, err := readMachineConfig(options.MachineConfigDir, options.MachineConfigSHA256)
	if err != nil {
		return result, err
	}
	progress.Done("%s, SHA-256 %s", config.Name, options.MachineConfigSHA256)

	base, err := openBase(ctx, clients, options.BaseImage, progress)
	if err != nil {
		return result, err
	}
	result.BaseDigest = base.Digest

	progress.Step("layer", "making the config layer")
	fetch, err := newFetcher(clients)
	if err != nil {
		return result, err
	}
	indexes := &baseIndexes{store: clients.Push, target: options.FinalImage, progress: progress}
	layers, err := buildConfigLayers(ctx, config, base.Images, indexes, fetch, options.Compression)
	if err != nil {
		return result, err
	}
	progress.Done("%d entries, %s compressed", layers.entries, steplog.Size(layers.bytes))

	progress.Step("push", "pushing %s", options.FinalImage)
	before := clients.Traffic()
	pushed, err := clients.Push.Append(ctx, base, options.FinalImage, registry.Content{
		Layer: layers.of, Labels: options.Labels, CreatedBy: layerHistory,
	})
	if err != nil {
		return result, pushFailure(err)
	}
	result.Digest = pushed.Digest
	traffic := clients.Traffic()
	progress.Done("%s of the base in place, %d of them copied; %s up, %s down", steplog.Plural(pushed.Layers, "layer"),
		pushed.Streamed, steplog.Size(traffic.Up-before.Up), steplog.Size(traffic.Down-before.Down))
	progress.Note("the registry confirms %s; moved in all: %s up, %s down", pushed.Digest, steplog.Size(traffic.Up), steplog.Size(traffic.Down))
	return result, nil
}

func openBase(ctx context.Context, clients *registryaccess.Clients, pullspec string, progress *steplog.Progress) (*registry.Base, error) {
	progress.Step("base", "reading the base image's manifest: %s", pullspec)
	base, err := clients.Pull.Open(ctx, pullspec)
	if err != nil {
		return nil, fail(api.ReasonPullFailed, err)
	}
	layers, bytes := 0, int64(0)
	for _, image := range base.Images {
		layers += len(image.Layers)
		bytes += imageBytes(image)
	}
	progress.Done("%s: %s, %s, %s that stay where they are", base.Digest,
		steplog.Plural(len(base.Images), "platform"), steplog.Plural(layers, "layer"), steplog.Size(bytes))
	noteMirror(base, progress)
	for _, digest := range base.Skipped {
		progress.Note("left out of the new index, no Linux image: %s", digest)
	}
	return base, nil
}

func noteMirror(base *registry.Base, progress *steplog.Progress) {
	if base.Mirrored {
		progress.Note("%s is read from its mirror %s", base.Name, base.Source)
	}
}

// pushFailure tells a push that failed from one that cannot be confirmed, and
// from an image that is not to be pushed.
func pushFailure(err error) error {
	switch {
	case errors.Is(err, registry.ErrUnconfirmed):
		return fail(api.ReasonUnconfirmedDigest, err)
	case errors.Is(err, handover.ErrRefused):
		return fail(api.ReasonBuildFailed, err)
	}
	return fail(api.ReasonPushFailed, err)
}
