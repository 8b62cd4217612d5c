package buildconfig

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

// Proxy is what on-cluster-build-config says of a proxy; zero when nothing, so
// that the cluster's counts.
type Proxy struct {
	Config proxy.Config
	// SecretName is of the Secret that holds it instead.
	SecretName string
}

// proxyKeys are in the ConfigMap or in the Secret.
var proxyKeys = []string{api.KeyHTTPProxy, api.KeyHTTPSProxy, api.KeyNoProxy}

func (r *reader) proxy() Proxy {
	p := Proxy{SecretName: r.objectName(api.KeyProxySecretName)}
	values := map[string]string{}
	for _, key := range proxyKeys {
		values[key] = r.get(key)
		if values[key] != "" && r.get(api.KeyProxySecretName) != "" {
			r.fail(key, "is set beside %s; keep all that is of the proxy in that Secret", api.KeyProxySecretName)
		}
	}
	for _, key := range proxyKeys[:2] {
		if proxy.HasLogin(values[key]) {
			r.fail(key, "has a login in it, which does not belong in a ConfigMap; put the URL into a Secret, under the same key, and name it by %s", api.KeyProxySecretName)
		} else if err := proxy.Check(values[key]); err != nil {
			r.fail(key, "%v", err)
		}
	}
	for _, key := range registrySecretKeys {
		if p.SecretName != "" && r.get(key) == p.SecretName {
			r.fail(api.KeyProxySecretName, "is the Secret of %s, too; steps see the proxy's login and must not see a registry's: use a Secret of its own", key)
		}
	}
	p.Config = proxyOf(values)
	return p
}

func proxyOf(values map[string]string) proxy.Config {
	return proxy.Config{HTTP: values[api.KeyHTTPProxy], HTTPS: values[api.KeyHTTPSProxy], No: values[api.KeyNoProxy]}
}

// CheckProxySecret reads the proxy of the Secret of that name, which is nil when
// it does not exist. No message ever holds a value of the Secret.
func CheckProxySecret(name string, secret *corev1.Secret) (proxy.Config, Problems) {
	var ps Problems
	object := "ConfigMap/" + api.ConfigMapBuildConfig
	if secret == nil {
		ps.add(object, api.KeyProxySecretName, fmt.Sprintf("Secret %q does not exist in this namespace; create it, or remove the key", name))
		return proxy.Config{}, ps
	}
	values := map[string]string{}
	for _, key := range proxyKeys {
		values[key] = strings.TrimSpace(string(secret.Data[key]))
		if key == api.KeyNoProxy {
			continue
		}
		if err := proxy.Check(values[key]); err != nil {
			ps.add("Secret/"+name, key, err.Error())
		}
	}
	c := proxyOf(values)
	if c.HTTP == "" && c.HTTPS == "" {
		ps.add("Secret/"+name, "", fmt.Sprintf("has neither %s nor %s; set one, or remove %s of %s", api.KeyHTTPProxy, api.KeyHTTPSProxy, api.KeyProxySecretName, object))
	}
	if len(ps) > 0 {
		return proxy.Config{}, ps
	}
	return c, nil
}

// CheckClusterProxy checks what the cluster's Proxy object says.
func CheckClusterProxy(c proxy.Config) Problems {
	var ps Problems
	for key, value := range map[string]string{"status.httpProxy": c.HTTP, "status.httpsProxy": c.HTTPS} {
		if err := proxy.Check(value); err != nil {
			ps.add("Proxy/cluster", key, err.Error())
		}
	}
	slices.SortFunc(ps, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	return ps
}

// Registries returns the mirrors of the users' ConfigMap, which is nil when it
// does not exist, and of the cluster's objects; nil when there are none.
func Registries(cm *corev1.ConfigMap, sets registriesconf.MirrorSets) (*registriesconf.Config, Problems) {
	var ps Problems
	var config *registriesconf.Config
	if cm != nil && strings.TrimSpace(cm.Data[api.KeyRegistriesConf]) != "" {
		var err error
		if config, err = registriesconf.Parse(cm.Data[api.KeyRegistriesConf]); err != nil {
			ps.add("ConfigMap/"+api.ConfigMapRegistries, api.KeyRegistriesConf, lines(err))
		}
	}
	config, err := config.Add(sets)
	if err != nil {
		ps.add("config.openshift.io/v1", "", lines(err))
	}
	if len(ps) > 0 || config.IsZero() {
		return nil, ps
	}
	return config, nil
}

// lines makes one line of an error that has several.
func lines(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
