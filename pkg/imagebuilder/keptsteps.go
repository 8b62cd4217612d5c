package imagebuilder

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// annotationStepsKey holds, on the image of what steps left, what it was made of.
// A rebuild is no part of it: one that changes nothing gives the same image.
const annotationStepsKey = "machineosbuilder.io/steps-key"

// tagged is another tag of the final image's repository.
func tagged(finalImage, tag string) (string, error) {
	final, err := name.ParseReference(finalImage)
	if err != nil {
		return "", fail(api.ReasonInvalidConfig, fmt.Errorf("reading the final image's name: %w", err))
	}
	return final.Context().Tag(tag).Name(), nil
}

// findKeptSteps computes the key and, when there is an image of it, writes the
// plan by which nothing has to run. Only the newest result counts: an older one
// may lack what a rebuild was asked for. That it cannot be looked for costs time
// and is no failure.
func (p *preparation) findKeptSteps(ctx context.Context, base *registry.BaseImage, file *dockerfile.File) error {
	// By what they are, not by what they are called.
	text, err := file.Render(dockerfile.Configs{Base: "base", Packages: file.Configs().Packages, Extensions: "extensions", ConfigLast: true})
	if err != nil {
		return err
	}
	inputs := names.StepsInputs{BaseDigest: base.Digest, Dockerfile: text}
	if p.extensions != nil {
		inputs.Images = append(inputs.Images, [2]string{"extensions", p.extensions.chosen.Digest})
	}
	for _, image := range p.named {
		inputs.Images = append(inputs.Images, [2]string{image.name, image.chosen.Digest})
	}
	p.plan.ConfigLast, p.plan.StepsKey, p.plan.StepsTag = true, names.StepsKey(inputs), names.StepsTag(inputs)
	if inputs.RebuildToken = p.options.RebuildToken; inputs.RebuildToken != "" {
		p.plan.RebuildTag = names.StepsTag(inputs)
	}
	pullspec, err := tagged(p.options.FinalImage, p.plan.StepsTag)
	if err != nil {
		return err
	}
	kept, err := p.clients.Push.Inspect(ctx, pullspec)
	if err == nil && p.plan.RebuildTag != "" {
		err = p.checkRebuild(ctx, kept.Digest)
	}
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return nil
	case err != nil:
		p.progress.Note("what earlier steps left cannot be looked for: %v", err)
		return ctx.Err()
	case kept.Annotations[annotationStepsKey] != p.plan.StepsKey:
		p.progress.Note("%s is of other steps", pullspec)
		return nil
	}
	p.plan.KeptSteps = kept.Digest
	p.progress.Note("these steps ran on this base before; what they left is kept as %s, %s", pullspec, kept.Digest)
	return p.options.WorkDir.writePlan(p.plan)
}

// checkRebuild fails as a look for what is not there unless the rebuild that is
// asked for made the newest result.
func (p *preparation) checkRebuild(ctx context.Context, newest string) error {
	pullspec, err := tagged(p.options.FinalImage, p.plan.RebuildTag)
	if err != nil {
		return err
	}
	digest, err := p.clients.Push.Resolve(ctx, pullspec)
	if err == nil && digest != newest {
		err = fmt.Errorf("%w: another rebuild is newer", registry.ErrNotFound)
	}
	return err
}
