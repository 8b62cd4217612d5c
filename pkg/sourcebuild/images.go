package sourcebuild

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
)

// forThisMachine picks the image that steps can run in here.
func forThisMachine(opened *registry.Base) (*registry.BaseImage, error) {
	if image := opened.Image(runtime.GOARCH); image != nil {
		return image, nil
	}
	var have []string
	for _, image := range opened.Images {
		have = append(have, image.Platform)
	}
	return nil, fmt.Errorf("choosing the image of %s: this node is linux/%s, the image is for %s; let spec.nodeSelector of the Build choose nodes that the image is for, or name an image that is for linux/%s too",
		opened.Name, runtime.GOARCH, strings.Join(have, ", "), runtime.GOARCH)
}

// named is an image that the Dockerfile names.
type named struct {
	name   string
	opened *registry.Base
	image  *registry.BaseImage
}

func (p *preparation) open(ctx context.Context, name string) (named, error) {
	opened, err := p.clients.Pull.Open(ctx, name)
	if err != nil {
		return named{}, fail(buildv1.StatusReasonPullBuilderImageFailed, err)
	}
	image, err := forThisMachine(opened)
	if err != nil {
		return named{}, fail(buildv1.StatusReasonPullBuilderImageFailed, err)
	}
	return named{name, opened, image}, nil
}

// openStore opens the store that the steps will have; the first time, it chooses the
// driver. The caller closes it.
func (p *preparation) openStore(ctx context.Context) (*buildah.Program, error) {
	if p.plan.Driver.Name == "" {
		driver, err := buildah.ChooseDriver(ctx, p.options.StorageDir, p.progress)
		if err != nil {
			return nil, err
		}
		p.plan.Driver = driver
	}
	program, err := buildah.New(p.options.StorageDir, p.plan.Driver)
	if err != nil {
		return nil, err
	}
	program.Proxy = p.clients.Proxy
	return program, nil
}

// pullAll pulls into the store, each image by its digest. The logins are written into a
// directory of this container's own for that time. A build looks an image up by its
// name, so that it gets this too.
func (p *preparation) pullAll(ctx context.Context, images []named) error {
	program, err := p.openStore(ctx)
	if err != nil {
		return err
	}
	defer program.Close()
	flags, err := program.Login(p.clients.PullCredentials, p.clients.CAs)
	if err != nil {
		return err
	}
	for _, image := range images {
		if err := p.pull(ctx, program, flags, image); err != nil {
			return fail(buildv1.StatusReasonPullBuilderImageFailed, fmt.Errorf("pulling %s: %w", image.name, err))
		}
	}
	return nil
}

func (p *preparation) pull(ctx context.Context, program *buildah.Program, flags []string, image named) error {
	byDigest, err := buildah.Pinned(image.name, image.opened.Digest)
	if err != nil {
		return err
	}
	if !p.clients.Mirrors.IsZero() {
		if err := program.Mirror(image.opened); err != nil {
			return err
		}
	}
	if err := program.Pull(ctx, flags, byDigest); err != nil {
		return err
	}
	p.progress.Note("pulled %s: %s", image.name, image.opened.Digest)
	if strings.Contains(image.name, "@") {
		return nil
	}
	return program.Tag(ctx, byDigest, image.name)
}

// output is what the image is pushed as; empty where it is not.
func output(build *buildv1.Build) string {
	switch to := build.Spec.Output.To; {
	case to == nil:
		return ""
	case build.Status.OutputDockerImageReference != "":
		return build.Status.OutputDockerImageReference
	default:
		return to.Name
	}
}

// copyBase puts the base's layers into the output's repository, so that only new ones
// are left to push.
func (p *preparation) copyBase(ctx context.Context, base named) {
	target := output(p.options.Build)
	if target == "" {
		return
	}
	if _, err := p.clients.Push.CopyLayers(ctx, base.image, target); err != nil {
		if ctx.Err() == nil {
			p.progress.Note("warning: %v; the base's layers will be uploaded at the end", err)
		}
		return
	}
	for _, layer := range base.image.Held() {
		p.plan.Present = append(p.plan.Present, handover.Layer{Digest: layer.Digest, Size: layer.Size})
	}
}

// clients makes the clients. What spec.source.images are pulled with is good for the
// images of the Dockerfile, too: it may name them as ones of its own.
func (o PrepareOptions) clients() (*registryaccess.Clients, error) {
	access := o.Access
	var dirs []string
	for i := range o.Build.Spec.Source.Images {
		if dir, found := o.ImageSecretDirs[i]; found {
			dirs = append(dirs, dir)
		}
	}
	access.PullSecretDirs = append(append([]string(nil), access.PullSecretDirs...), dirs...)
	clients, err := access.Clients()
	return clients, o.ofSecret(err)
}

// ofSecret says of a Secret without logins which one it is, and fails for what it is
// meant for.
func (o PrepareOptions) ofSecret(err error) error {
	var unread *registryaccess.SecretError
	if !errors.As(err, &unread) {
		return err
	}
	secret := func(reason buildv1.StatusReason, field string, ref *corev1.LocalObjectReference) error {
		return fail(reason, fmt.Errorf("reading Secret %q that %s names: %w; use one of type %s or %s", ref.Name, field, unread.Err, corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg))
	}
	spec := o.Build.Spec
	if unread.Dir == o.PushSecretDir {
		return secret(buildv1.StatusReasonPushImageToRegistryFailed, "spec.output.pushSecret", spec.Output.PushSecret)
	}
	for i, dir := range o.ImageSecretDirs {
		if unread.Dir == dir {
			return secret(buildv1.StatusReasonFetchImageContentFailed, fmt.Sprintf("spec.source.images[%d].pullSecret", i), spec.Source.Images[i].PullSecret)
		}
	}
	if strategy := spec.Strategy.SourceStrategy; strategy != nil {
		return secret(buildv1.StatusReasonPullBuilderImageFailed, "spec.strategy.sourceStrategy.pullSecret", strategy.PullSecret)
	}
	return secret(buildv1.StatusReasonPullBuilderImageFailed, "spec.strategy.dockerStrategy.pullSecret", spec.Strategy.DockerStrategy.PullSecret)
}
