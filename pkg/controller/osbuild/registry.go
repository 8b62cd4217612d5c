package osbuild

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// access is what it takes to talk to the registries of a build.
type access struct {
	credentials *dockerconfig.Config
	authorities [][]byte
}

// access reads the Secrets that the settings name, and the service CA where
// there is one, and checks them.
func (c *Controller) access(ctx context.Context, s buildconfig.Settings) (access, buildconfig.Problems, error) {
	var a access
	var problems buildconfig.Problems
	var configs []*dockerconfig.Config
	for _, ref := range s.Secrets {
		secret, err := c.Clients.Core.CoreV1().Secrets(c.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			secret, err = nil, nil
		}
		if err != nil {
			return a, nil, fmt.Errorf("reading Secret %q: %w", ref.Name, err)
		}
		config, found := buildconfig.CheckSecret(ref, secret)
		problems = append(problems, found...)
		configs = append(configs, config)
	}
	a.credentials = dockerconfig.Merge(configs...)
	ca, err := c.serviceCA(ctx)
	if err != nil {
		return a, nil, err
	}
	bundle, found := buildconfig.ServiceCA(ca)
	if bundle != nil {
		a.authorities = [][]byte{bundle}
	}
	return a, append(problems, found...), nil
}

func (c *Controller) serviceCA(ctx context.Context) (*corev1.ConfigMap, error) {
	cm, err := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace).Get(ctx, api.ConfigMapServiceCA, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %q: %w", api.ConfigMapServiceCA, err)
	}
	return cm, nil
}

// askRegistry puts the one question that the plan may depend on; the answer,
// when it comes later, wakes the pool.
func (c *Controller) askRegistry(ctx context.Context, v *view) error {
	image := osbuild.Question(v.desired, v.observed, v.now)
	v.observed.Registry = nil
	if image == "" {
		return nil
	}
	a, problems, err := c.access(ctx, v.settings)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		v.accessWrong = true
		v.observed.Registry = &osbuild.Confirmation{Image: image, Err: errors.New(problems.String())}
		return nil
	}
	answer, ok := c.checker.Confirm(v.pool.Name, registry.Question{Pullspec: image, Credentials: a.credentials, CAs: a.authorities})
	if ok {
		v.observed.Registry = confirmation(image, answer)
	}
	return nil
}

func confirmation(image string, answer registry.Answer) *osbuild.Confirmation {
	c := &osbuild.Confirmation{Image: image}
	var failure *registry.Error
	switch {
	case answer.Err == nil:
		c.Found, c.Digest, c.InputsHash = true, answer.Info.Digest, answer.Info.Labels[api.ImageLabelInputsHash]
	case errors.Is(answer.Err, registry.ErrNotFound):
	default:
		c.Err = answer.Err
		c.Temporary = errors.As(answer.Err, &failure) && failure.Temporary()
	}
	return c
}
