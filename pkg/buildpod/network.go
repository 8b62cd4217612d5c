package buildpod

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// ca mounts the certificate authorities of OpenShift's internal registry, which
// other clusters do not have, and those that users add.
func (a *assembly) ca(c *corev1.Container) {
	a.optionalMap(c, "service-ca", api.ConfigMapServiceCA, caDir)
	arg(c, "ca-file", caDir+"/"+api.ServiceCAKey)
	a.optionalMap(c, "user-ca", api.ConfigMapUserCA, userCADir)
	arg(c, "ca-file", userCADir+"/"+api.UserCAKey)
}

// mirrors mounts the registries.conf that was made for this build.
func (b *builder) mirrors(c *corev1.Container) {
	text := b.request.Network.Registries
	if text == "" {
		return
	}
	b.networkMap(c, "registries", registriesDir, api.KeyRegistriesConf)
	arg(c, "registries-conf", registriesDir+"/"+api.KeyRegistriesConf)
	arg(c, "registries-conf-sha256", names.Content([]byte(text)))
}

// proxy mounts the proxy's settings: a URL may hold a password, and whoever may
// look at pods reads arguments and environments.
func (b *builder) proxy(c *corev1.Container) {
	network := b.request.Network
	switch {
	case network.ProxySecret != "":
		b.proxySecret(c, network.ProxySecret)
	case !network.Proxy.IsZero():
		var keys []string
		for _, setting := range [][2]string{{api.KeyHTTPProxy, network.Proxy.HTTP}, {api.KeyHTTPSProxy, network.Proxy.HTTPS}, {api.KeyNoProxy, network.Proxy.No}} {
			if setting[1] != "" {
				keys = append(keys, setting[0])
			}
		}
		b.networkMap(c, "proxy", proxyDir, keys...)
	default:
		return
	}
	arg(c, "proxy-dir", proxyDir)
}

// proxySecret mounts a Secret of the user's, where it exists. Steps see these keys and
// none that may lie beside them.
func (a *assembly) proxySecret(c *corev1.Container, name string) {
	a.volume(corev1.Volume{Name: "proxy", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: name, Optional: ptr(true),
		Items: []corev1.KeyToPath{{Key: api.KeyHTTPProxy, Path: api.KeyHTTPProxy}, {Key: api.KeyHTTPSProxy, Path: api.KeyHTTPSProxy}, {Key: api.KeyNoProxy, Path: api.KeyNoProxy}},
	}}})
	mount(c, "proxy", proxyDir, true)
}

// networkMap mounts some keys of the ConfigMap that was made for this build.
func (b *builder) networkMap(c *corev1.Container, volume, dir string, keys ...string) {
	items := make([]corev1.KeyToPath, len(keys))
	for i, key := range keys {
		items[i] = corev1.KeyToPath{Key: key, Path: key}
	}
	b.volume(corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: names.NetworkMap(b.request.RenderedConfig)},
		Items:                items,
	}}})
	mount(c, volume, dir, true)
}

// stepFiles mounts what steps are given on purpose, where it exists: entitlements
// and repositories, as on a node that is entitled, and the users' own certificate
// authorities, which no step trusts by itself.
func (b *builder) stepFiles(c *corev1.Container) {
	b.optionalSecret(c, "entitlement", api.SecretEntitlement, buildspec.StepFilesDir+"/entitlement")
	b.optionalSecret(c, "rpm-gpg", api.SecretRPMKeys, buildspec.StepFilesDir+"/rpm-gpg")
	b.optionalMap(c, "yum-repos", api.ConfigMapYumRepos, buildspec.StepFilesDir+"/yum-repos")
	b.optionalMap(c, "user-ca", api.ConfigMapUserCA, buildspec.StepFilesDir+"/user-ca")
}

func (a *assembly) optionalMap(c *corev1.Container, volume, name, dir string) {
	a.volume(corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: name},
		Optional:             ptr(true),
	}}})
	mount(c, volume, dir, true)
}

func (a *assembly) optionalSecret(c *corev1.Container, volume, name, dir string) {
	a.volume(corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: name,
		Optional:   ptr(true),
	}}})
	mount(c, volume, dir, true)
}
