package sourcebuild

import (
	"context"
	"errors"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// pullPrevious pulls the image of the build before, with the credentials to push, and
// returns its name. Without one, or where it cannot be used, the build is like a first
// one: it pushes another, so that the next build has one again.
func (p *preparation) pullPrevious(ctx context.Context, report *buildreport.Report) (string, error) {
	name := output(p.options.Build)
	if name == "" {
		return "", nil
	}
	opened, err := p.clients.Push.Open(ctx, name)
	if err != nil {
		return p.withoutPrevious(ctx, err, "there is no previous image to take artifacts from")
	}
	image, err := forThisMachine(opened)
	if err == nil {
		err = withoutTriggers(image)
	}
	if err != nil {
		return p.withoutPrevious(ctx, err, "the previous image cannot be used")
	}
	program, err := p.openStore(ctx)
	if err != nil {
		return "", fail(buildv1.StatusReasonGenericBuildFailed, err)
	}
	defer program.Close()
	flags, err := program.Login(p.clients.PushCredentials, p.clients.CAs)
	if err != nil {
		return "", fail(buildv1.StatusReasonGenericBuildFailed, err)
	}
	defer begin(report, p.progress, buildv1.StagePullImages, buildv1.StepPullInputImage)()
	if err := p.pull(ctx, program, flags, named{name, opened, image}); err != nil {
		return p.withoutPrevious(ctx, err, "the previous image cannot be pulled, so this build takes no artifacts")
	}
	p.previous = name
	return name, nil
}

// withoutTriggers wants an image whose own instructions do not run with those of the
// build, as whom they like.
func withoutTriggers(image *registry.BaseImage) error {
	settings, err := image.Settings()
	if err == nil && len(settings.OnBuild) > 0 {
		err = errors.New("it has ONBUILD instructions")
	}
	return err
}

// withoutPrevious goes on, unless the build itself is to end.
func (p *preparation) withoutPrevious(ctx context.Context, err error, why string) (string, error) {
	if ctx.Err() != nil {
		return "", fail(buildv1.StatusReasonPullBuilderImageFailed, err)
	}
	p.progress.Note("%s: %v", why, err)
	return "", nil
}
