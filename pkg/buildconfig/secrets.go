package buildconfig

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerconfig"
)

// SecretRef is a Secret that a key of on-cluster-build-config names.
type SecretRef struct {
	Key  string
	Name string
}

// Credentials sorts the Secrets by what a build uses them for. A Secret that
// several keys name is listed once.
func (s Settings) Credentials() buildspec.Credentials {
	var c buildspec.Credentials
	for _, ref := range s.Secrets {
		switch {
		case ref.Key == api.KeyFinalImagePushSecretName:
			c.Push = ref.Name
		case !slices.Contains(c.Pull, ref.Name):
			c.Pull = append(c.Pull, ref.Name)
		}
	}
	return c
}

// CheckSecret reads the credentials of a Secret that a key names; secret is
// nil when it does not exist. No message ever holds a value of the Secret.
func CheckSecret(ref SecretRef, secret *corev1.Secret) (*dockerconfig.Config, Problems) {
	var ps Problems
	object := "ConfigMap/" + api.ConfigMapBuildConfig
	if secret == nil {
		ps.add(object, ref.Key, fmt.Sprintf("Secret %q does not exist in this namespace; create it, or remove the key for a registry that needs no credentials", ref.Name))
		return nil, ps
	}
	config, err := dockerconfig.ParseSecret(string(secret.Type), secret.Data)
	switch {
	case err == nil:
		return config, nil
	case errors.Is(err, dockerconfig.ErrUnsupportedType):
		ps.add(object, ref.Key, fmt.Sprintf("Secret %q is of type %q; use type %s or %s", ref.Name, secret.Type, corev1.SecretTypeDockerConfigJson, corev1.SecretTypeDockercfg))
	default:
		ps.add(object, ref.Key, fmt.Sprintf("Secret %q holds no usable registry credentials: %v; make it anew, for instance with kubectl create secret docker-registry", ref.Name, err))
	}
	return nil, ps
}
