package imagebuilder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// handOverSteps hands over what each step left that ran, after the image itself and
// from what became of that. Where it fails nothing of the steps is handed over, and
// the image is none the worse.
func handOverSteps(ctx context.Context, program *buildah.Program, made map[buildah.StepAt]string, dir string, plan plan, settled handover.Settled, form handover.Form) error {
	keys := plan.Cache.all()
	err := pushSteps(ctx, program, made, dir, plan, settled)
	if err == nil {
		err = settled.Steps(ctx, dir, keys, plan.Present, form)
	}
	if err != nil {
		return errors.Join(err, handover.DropSteps(dir, keys))
	}
	return nil
}

func pushSteps(ctx context.Context, program *buildah.Program, made map[buildah.StepAt]string, dir string, plan plan, settled handover.Settled) error {
	receiver, err := handover.Receive(dir, append(settled.Before(), plan.Present...))
	if err != nil {
		return err
	}
	defer receiver.Close()
	for at, id := range made {
		key := plan.Cache.key(at.Stage, at.Number)
		if key == "" {
			continue
		}
		if err := program.PushTo(ctx, receiver, id, receiver.PullspecOf(key)); err != nil {
			return err
		}
	}
	return nil
}

// keepSteps keeps what the steps of this build left, that which they left before and
// this build used, and nothing else. A failure leaves the cache as it was.
func keepSteps(ctx context.Context, clients *registryaccess.Clients, options PushOptions, plan plan, progress *steplog.Progress) {
	if plan.Cache == nil || plan.KeptSteps != "" {
		return
	}
	if err := storeSteps(ctx, clients.Push, options, plan, progress); err != nil {
		progress.Note("warning: build cache %s is not written: %v", plan.Cache.Tag, err)
	}
}

func storeSteps(ctx context.Context, client *registry.Client, options PushOptions, plan plan, progress *steplog.Progress) error {
	made, err := handover.OpenSteps(options.HandoverDir, plan.Cache.all(), plan.Present, options.MaxBytes)
	if err != nil {
		return err
	}
	document := stepDocument{Rebuild: plan.Cache.Rebuild, Steps: map[string]stepImage{}}
	maps.Copy(document.Steps, plan.Cache.Loaded)
	layers := map[string]registry.Blob{}
	for key, image := range made {
		config, err := json.Marshal(image.Config)
		if err != nil {
			return fmt.Errorf("encoding image config: %w", err)
		}
		step := stepImage{Config: config}
		for _, layer := range image.Layers {
			step.Layers = append(step.Layers, stepLayer{MediaType: layer.MediaType, Digest: layer.Digest, Size: layer.Size})
			layers[layer.Digest] = layer
		}
		document.Steps[key] = step
	}
	for _, image := range plan.Cache.Loaded {
		for _, layer := range image.Layers {
			if _, found := layers[layer.Digest]; !found {
				layers[layer.Digest] = registry.Blob{Digest: layer.Digest, Size: layer.Size, MediaType: layer.MediaType}
			}
		}
	}
	content, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("encoding the build cache: %w", err)
	}
	artifact := registry.Artifact{Type: stepCacheType, Content: content}
	for _, digest := range slices.Sorted(maps.Keys(layers)) {
		artifact.Layers = append(artifact.Layers, layers[digest])
	}
	digest, err := client.StoreArtifact(ctx, plan.Cache.Tag, artifact)
	if err != nil {
		return err
	}
	progress.Note("build cache %s has %s, %d of this build", plan.Cache.Tag, steplog.Plural(len(document.Steps), "step"), len(made))
	return forgetSteps(ctx, client, plan.Cache, digest, progress)
}

// forgetSteps deletes what the tag named before.
func forgetSteps(ctx context.Context, client *registry.Client, cache *stepCache, digest string, progress *steplog.Progress) error {
	if cache.Digest == "" || cache.Digest == digest {
		return nil
	}
	before, err := pinned(cache.Tag, cache.Digest)
	if err != nil {
		return err
	}
	if err := client.Delete(ctx, before); err != nil && !errors.Is(err, registry.ErrNotFound) {
		progress.Note("the earlier build cache %s stays in the registry: %v", before, err)
	}
	return nil
}
