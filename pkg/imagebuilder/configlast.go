package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// configLast lays the config on what the steps left.
type configLast struct {
	options  PushOptions
	plan     plan
	clients  *registryaccess.Clients
	progress *steplog.Progress
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
	indexes := &baseIndexes{store: l.clients.Push, target: l.options.FinalImage, progress: l.progress, below: l.plan.ImageDigest}
	layers, err := buildConfigLayers(ctx, config, steps.Images, indexes, fetch, l.options.Compression)
	if err != nil {
		return err
	}
	l.progress.Done("%d entries, %s compressed", layers.entries, steplog.Size(layers.bytes))

	l.progress.Step("push", "pushing %s", l.options.FinalImage)
	pushed, err := l.clients.Push.Append(ctx, steps, l.options.FinalImage, registry.Content{
		Layer: layers.of, Labels: l.options.Labels, CreatedBy: layerHistory,
		// What the steps left is nobody's base.
		Annotations: map[string]string{
			registry.AnnotationBaseName: l.plan.BaseImage, registry.AnnotationBaseDigest: l.plan.ImageDigest, api.AnnotationStepsImage: steps.Digest,
		},
	})
	if err != nil {
		return pushFailure(err)
	}
	result.Digest = pushed.Digest
	traffic := l.clients.Traffic()
	l.progress.Done("the registry confirms %s; in all %s up, %s down", pushed.Digest, steplog.Size(traffic.Up), steplog.Size(traffic.Down))
	return nil
}

// steps returns the image of what the steps left, which it pushes unless it is
// kept.
func (l *configLast) steps(ctx context.Context) (*registry.Base, error) {
	newest, err := tagged(l.options.FinalImage, l.plan.StepsTag)
	if err != nil {
		return nil, err
	}
	repository := strings.TrimSuffix(newest, ":"+l.plan.StepsTag)
	digest := l.plan.KeptSteps
	if digest == "" {
		if digest, err = l.keep(ctx, repository); err != nil {
			return nil, err
		}
	}
	steps, err := l.clients.Push.Open(ctx, repository+"@"+digest)
	if err != nil {
		return nil, fail(api.ReasonPullFailed, fmt.Errorf("reading what the steps left: %w; the next try looks for it anew, and %s=<another value> on the pool runs the steps again", err, api.AnnotationRebuild))
	}
	if len(steps.Images) != 1 || steps.Index {
		return nil, fail(api.ReasonPullFailed, errors.New("reading "+steps.Name+": it is an index, not what steps left"))
	}
	return steps, nil
}

// keep pushes what the steps left as the newest result, and then says of which
// rebuild it is, if of one. Another pool may do the same at the same time, and
// either result is good: only the digest is confirmed.
func (l *configLast) keep(ctx context.Context, repository string) (string, error) {
	built := l.options
	built.FinalImage, built.Labels = repository+":"+l.plan.StepsTag, nil
	digest, err := pushBuilt(ctx, l.clients, built, l.plan, l.progress)
	if errors.Is(err, registry.ErrUnconfirmed) {
		_, err = l.clients.Push.Resolve(ctx, repository+"@"+digest)
	}
	if err == nil && l.plan.RebuildTag != "" {
		err = l.clients.Push.Tag(ctx, repository+"@"+digest, l.plan.RebuildTag)
	}
	if err != nil {
		return "", pushFailure(err)
	}
	return digest, nil
}
