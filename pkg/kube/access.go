package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
)

// RegistryAccess is what it takes to talk to the registries of the settings.
type RegistryAccess struct {
	// Credentials are those of all Secrets, the push Secret's first.
	Credentials *dockerconfig.Config
	// Authorities are PEM bundles to trust besides the system's.
	Authorities [][]byte
}

// ReadRegistryAccess reads the Secrets that the settings name, and the service
// CA where there is one, from the API server and checks them. Problems are what
// the user has to mend; the error is that of a read.
func ReadRegistryAccess(ctx context.Context, c kubernetes.Interface, namespace string, s buildconfig.Settings) (RegistryAccess, buildconfig.Problems, error) {
	var a RegistryAccess
	var problems buildconfig.Problems
	var configs []*dockerconfig.Config
	for _, ref := range s.Secrets {
		secret, err := c.CoreV1().Secrets(namespace).Get(ctx, ref.Name, metav1.GetOptions{})
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
	a.Credentials = dockerconfig.Merge(configs...)
	ca, err := readServiceCA(ctx, c, namespace)
	if err != nil {
		return a, nil, err
	}
	bundle, found := buildconfig.ServiceCA(ca)
	if bundle != nil {
		a.Authorities = [][]byte{bundle}
	}
	return a, append(problems, found...), nil
}

func readServiceCA(ctx context.Context, c kubernetes.Interface, namespace string) (*corev1.ConfigMap, error) {
	cm, err := c.CoreV1().ConfigMaps(namespace).Get(ctx, api.ConfigMapServiceCA, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %q: %w", api.ConfigMapServiceCA, err)
	}
	return cm, nil
}
