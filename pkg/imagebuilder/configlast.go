package imagebuilder

import (
	"context"
	"errors"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// configLast lays the config on what the steps left.
type configLast struct {
	options  PushOptions
	plan     plan
	clients  *clients
	progress *Progress
}

func (l *configLast) push(ctx context.Context, result *buildspec.Result) error {
	l.progress.Step("config", "reading the MachineConfig")
	config, err := readMachineConfig(l.options.MachineConfigDir, l.options.MachineConfigSHA256)
	if err != nil {
		return err
	}
	l.progress.Done("%s, SHA-256 %s", config.Name, l.options.MachineConfigSHA256)
	steps, err := l.steps(ctx)
	if err != nil {
		return err
	}
	result.StepsDigest = steps.Digest

	l.progress.Step("layer", "making the config layer")
	fetch, err := newFetcher(l.clients)
	if err != nil {
		return err
	}
	indexes := &baseIndexes{store: l.clients.push, target: l.options.FinalImage, progress: l.progress, below: l.plan.ImageDigest}
	layers, err := buildConfigLayers(ctx, config, steps.Images, indexes, fetch, l.options.Compression)
	if err != nil {
		return err
	}
	l.progress.Done("%d entries, %s compressed", layers.entries, size(layers.bytes))

	l.progress.Step("push", "pushing %s", l.options.FinalImage)
	pushed, err := l.clients.push.Append(ctx, steps, l.options.FinalImage, registry.Content{
		Layer: layers.of, Labels: l.options.Labels, CreatedBy: layerHistory,
		// What the steps left is nobody's base.
		Annotations: map[string]string{registry.AnnotationBaseName: l.plan.BaseImage, registry.AnnotationBaseDigest: l.plan.ImageDigest},
	})
	if err != nil {
		return pushFailure(err)
	}
	result.Digest = pushed.Digest
	traffic := l.clients.traffic()
	l.progress.Done("the registry confirms %s; in all %s up, %s down", pushed.Digest, size(traffic.Up), size(traffic.Down))
	return nil
}

// steps returns the image of what the steps left, which it pushes unless it is
// kept.
func (l *configLast) steps(ctx context.Context) (*registry.Base, error) {
	pullspec, err := tagged(l.options.FinalImage, l.plan.StepsTag)
	if err != nil {
		return nil, err
	}
	digest := l.plan.KeptSteps
	if digest == "" {
		built := l.options
		built.FinalImage, built.Labels = pullspec, nil
		if digest, err = pushBuilt(ctx, l.clients, built, l.plan, l.progress); err != nil {
			return nil, err
		}
	}
	steps, err := l.clients.push.Open(ctx, strings.TrimSuffix(pullspec, ":"+l.plan.StepsTag)+"@"+digest)
	if err != nil {
		return nil, fail(api.ReasonPullFailed, err)
	}
	if len(steps.Images) != 1 || steps.Index {
		return nil, fail(api.ReasonPullFailed, errors.New("reading "+steps.Name+": it is an index, not what steps left"))
	}
	return steps, nil
}
