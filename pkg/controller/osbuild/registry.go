package osbuild

import (
	"context"
	"errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// access is kube.ReadRegistryAccess of this loop's namespace.
func (c *Controller) access(ctx context.Context, s buildconfig.Settings) (kube.RegistryAccess, buildconfig.Problems, error) {
	return kube.ReadRegistryAccess(ctx, c.Clients, c.Namespace, s)
}

// network reads, besides the access, what a build that starts is told of how to
// reach registries.
func (c *Controller) network(ctx context.Context, s buildconfig.Settings) (buildspec.Network, buildconfig.Problems, error) {
	a, problems, err := c.access(ctx, s)
	if err != nil {
		return buildspec.Network{}, nil, err
	}
	network, found, err := kube.ReadNetwork(ctx, c.Clients, c.Namespace, s, a)
	return network, append(problems, found...), err
}

// askRegistry puts the one question that the plan may depend on; the answer,
// when it comes later, wakes the pool.
func (c *Controller) askRegistry(ctx context.Context, v *view) error {
	image := osbuild.Question(v.desired, v.observed, v.now)
	v.observed.Registry = nil
	if image == "" {
		c.checker.Forget(v.pool.Name)
		return nil
	}
	if answer, asked := c.checker.Asked(v.pool.Name, image); asked {
		if answer != nil {
			v.observed.Registry = confirmation(image, *answer)
		}
		return nil
	}
	a, problems, err := c.access(ctx, v.settings)
	if err != nil {
		return err
	}
	v.secrets = a.Secrets()
	if len(problems) > 0 {
		v.accessWrong = true
		v.observed.Registry = &osbuild.Confirmation{Image: image, Err: errors.New(problems.String())}
		return nil
	}
	c.checker.Ask(v.pool.Name, registry.Question{Pullspec: image, Credentials: a.Credentials, CAs: a.Authorities, Proxy: a.Proxy})
	return nil
}

// confirmation is what an answer says of an image. A registry's error may quote
// what it was sent, or where it redirected to.
func confirmation(image string, answer registry.Answer) *osbuild.Confirmation {
	c := &osbuild.Confirmation{Image: image}
	var failure *registry.Error
	switch {
	case answer.Err == nil:
		c.Found, c.Digest, c.InputsHash = true, answer.Info.Digest, answer.Info.Labels[api.ImageLabelInputsHash]
		c.BaseName, c.BaseDigest = answer.Info.Annotations[registry.AnnotationBaseName], answer.Info.Annotations[registry.AnnotationBaseDigest]
		c.StepsDigest = answer.Info.Annotations[api.AnnotationStepsImage]
		c.Members = answer.Info.Members
	case errors.Is(answer.Err, registry.ErrNotFound):
	default:
		c.Err = errors.New(redact.New(answer.Secrets...).Text(answer.Err.Error()))
		c.Temporary = errors.As(answer.Err, &failure) && failure.Temporary()
	}
	return c
}
