package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

// RegistryAccess is what it takes to talk to the registries of the settings.
type RegistryAccess struct {
	// Credentials are those of all Secrets, the push Secret's first; PullCredentials are
	// those with its last, as pods of builds read base images.
	Credentials, PullCredentials *dockerconfig.Config
	// Authorities are PEM bundles to trust besides the system's.
	Authorities [][]byte
	// Proxy is what to go through; zero for what the environment says.
	Proxy proxy.Config
}

// Secrets are what must not be shown.
func (a RegistryAccess) Secrets() []string {
	return append(a.Credentials.Secrets(), a.Proxy.Secrets()...)
}

// ReadRegistryAccess reads the Secrets that the settings name, the certificate
// authorities and the proxy, where there are any, from the API server and checks
// them. Problems are what the user has to mend; the error is that of a read.
func ReadRegistryAccess(ctx context.Context, c Clients, namespace string, s buildconfig.Settings) (RegistryAccess, buildconfig.Problems, error) {
	var a RegistryAccess
	var problems buildconfig.Problems
	var push, pull []*dockerconfig.Config
	for _, ref := range s.Secrets {
		secret, err := readSecret(ctx, c, namespace, ref.Name)
		if err != nil {
			return a, nil, err
		}
		config, found := buildconfig.CheckSecret(ref, secret)
		problems = append(problems, found...)
		if ref.Key == api.KeyFinalImagePushSecretName {
			push = append(push, config)
		} else {
			pull = append(pull, config)
		}
	}
	a.Credentials = dockerconfig.Merge(slices.Concat(push, pull)...)
	a.PullCredentials = dockerconfig.Merge(slices.Concat(pull, push)...)
	for _, source := range []struct {
		name string
		read func(*corev1.ConfigMap) ([]byte, buildconfig.Problems)
	}{{api.ConfigMapServiceCA, buildconfig.ServiceCA}, {api.ConfigMapUserCA, buildconfig.UserCA}} {
		cm, err := readConfigMap(ctx, c, namespace, source.name)
		if err != nil {
			return a, nil, err
		}
		bundle, found := source.read(cm)
		problems = append(problems, found...)
		if bundle != nil {
			a.Authorities = append(a.Authorities, bundle)
		}
	}
	var found buildconfig.Problems
	var err error
	a.Proxy, found, err = readProxy(ctx, c, namespace, s.Proxy)
	return a, append(problems, found...), err
}

// readProxy reads the proxy of the settings or, when they say nothing, the
// cluster's.
func readProxy(ctx context.Context, c Clients, namespace string, settings buildconfig.Proxy) (proxy.Config, buildconfig.Problems, error) {
	switch {
	case settings.SecretName != "":
		secret, err := readSecret(ctx, c, namespace, settings.SecretName)
		if err != nil {
			return proxy.Config{}, nil, err
		}
		config, problems := buildconfig.CheckProxySecret(settings.SecretName, secret)
		return config, problems, nil
	case !settings.Config.IsZero():
		return settings.Config, nil, nil
	}
	config, err := clusterProxy(ctx, c)
	if err != nil {
		problems, err := missingRight(err)
		return proxy.Config{}, problems, err
	}
	if problems := buildconfig.CheckClusterProxy(config); len(problems) > 0 {
		return proxy.Config{}, problems, nil
	}
	return config, nil, nil
}

// ReadMirrors reads where images are pulled from that lie elsewhere by their
// names; nil when there are no mirrors.
func ReadMirrors(ctx context.Context, c Clients, namespace string) (*registriesconf.Config, buildconfig.Problems, error) {
	cm, err := readConfigMap(ctx, c, namespace, api.ConfigMapRegistries)
	if err != nil {
		return nil, nil, err
	}
	sets, err := mirrorSets(ctx, c)
	if err != nil {
		problems, err := missingRight(err)
		return nil, problems, err
	}
	mirrors, problems := buildconfig.Registries(cm, sets)
	return mirrors, problems, nil
}

// ReadNetwork adds to the access what only a build's pod needs to know.
func ReadNetwork(ctx context.Context, c Clients, namespace string, s buildconfig.Settings, a RegistryAccess) (buildspec.Network, buildconfig.Problems, error) {
	network := buildspec.Network{Proxy: a.Proxy, ProxySecret: s.Proxy.SecretName}
	mirrors, problems, err := ReadMirrors(ctx, c, namespace)
	if mirrors != nil {
		network.Registries = mirrors.String()
	}
	return network, problems, err
}

func readSecret(ctx context.Context, c Clients, namespace, name string) (*corev1.Secret, error) {
	secret, err := c.Core.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %q: %w", name, err)
	}
	return secret, nil
}

func readConfigMap(ctx context.Context, c Clients, namespace, name string) (*corev1.ConfigMap, error) {
	cm, err := c.Core.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ConfigMap %q: %w", name, err)
	}
	return cm, nil
}
