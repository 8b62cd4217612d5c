package buildconfig

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

func TestUserCA(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte(password)}))
	for name, row := range map[string]struct {
		cm     *corev1.ConfigMap
		bundle string
		says   string
	}{
		"no ConfigMap":      {nil, "", ""},
		"not filled in yet": {configMap(), "", ""},
		"one":               {configMap(api.UserCAKey, certificate), certificate, ""},
		"text":              {configMap(api.UserCAKey, password), "", "14 bytes of something else"},
		"a private key":     {configMap(api.UserCAKey, key), "", "a private key"},
		"half a one":        {configMap(api.UserCAKey, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))), "", "cannot be read"},
	} {
		bundle, problems := UserCA(row.cm)
		text := problems.String()
		if string(bundle) != row.bundle || (text == "") != (row.says == "") || !strings.Contains(text, row.says) {
			t.Errorf("%s: bundle %q, problems %q", name, bundle, text)
		}
		if row.says != "" && !strings.Contains(text, "ConfigMap/"+api.ConfigMapUserCA+", key "+api.UserCAKey) {
			t.Errorf("%s: %q does not name the key", name, text)
		}
		if strings.Contains(text, password) || strings.Contains(text, key) {
			t.Errorf("%s: %q shows the content", name, text)
		}
	}
}

func TestProxyKeys(t *testing.T) {
	for name, row := range map[string]struct {
		pairs []string
		want  Proxy
		says  string
	}{
		"none":             {nil, Proxy{}, ""},
		"all":              {[]string{api.KeyHTTPProxy, "http://p:1", api.KeyHTTPSProxy, "http://p:2", api.KeyNoProxy, ".svc"}, Proxy{Config: proxy.Config{HTTP: "http://p:1", HTTPS: "http://p:2", No: ".svc"}}, ""},
		"a Secret":         {[]string{api.KeyProxySecretName, "login"}, Proxy{SecretName: "login"}, ""},
		"both":             {[]string{api.KeyProxySecretName, "login", api.KeyNoProxy, ".svc"}, Proxy{SecretName: "login", Config: proxy.Config{No: ".svc"}}, "key noProxy: is set beside proxySecretName"},
		"a login":          {[]string{api.KeyHTTPProxy, "http://u:" + password + "@p:1"}, Proxy{Config: proxy.Config{HTTP: "http://u:" + password + "@p:1"}}, "has a login in it"},
		"no scheme":        {[]string{api.KeyHTTPSProxy, "u:" + password + "@p:1"}, Proxy{Config: proxy.Config{HTTPS: "u:" + password + "@p:1"}}, "has no scheme"},
		"no Secret's name": {[]string{api.KeyProxySecretName, "A B"}, Proxy{}, "is no object name"},
	} {
		s, problems := Read(configMap(append([]string{api.KeyFinalImagePullspec, "registry.example.com/os/images"}, row.pairs...)...), nil)
		text := problems.String()
		if s.Proxy != row.want || (text == "") != (row.says == "") || !strings.Contains(text, row.says) || len(s.UnknownKeys) > 0 {
			t.Errorf("%s: %+v, problems %q, unknown %q", name, s.Proxy, text, s.UnknownKeys)
		}
		if strings.Contains(text, password) {
			t.Errorf("%s: %q shows the password", name, text)
		}
	}
}

// TestProxySecretIsItsOwn: steps see what the proxy's Secret says.
func TestProxySecretIsItsOwn(t *testing.T) {
	for _, key := range registrySecretKeys {
		_, problems := Read(configMap(api.KeyFinalImagePullspec, repository, key, "login", api.KeyProxySecretName, "login"), nil)
		if text := problems.String(); !strings.Contains(text, api.KeyProxySecretName) || !strings.Contains(text, "is the Secret of "+key) {
			t.Errorf("%s: %q", key, text)
		}
	}
}

func TestCheckProxySecret(t *testing.T) {
	for name, row := range map[string]struct {
		secret *corev1.Secret
		says   string
	}{
		"missing":        {nil, `key proxySecretName: Secret "login" does not exist`},
		"good":           {secret(corev1.SecretTypeOpaque, api.KeyHTTPSProxy, "http://u:"+password+"@p:1\n"), ""},
		"without a URL":  {secret(corev1.SecretTypeOpaque, api.KeyNoProxy, ".svc"), "Secret/login: has neither httpProxy nor httpsProxy"},
		"with no scheme": {secret(corev1.SecretTypeOpaque, api.KeyHTTPProxy, "u:"+password+"@p:1"), "Secret/login, key httpProxy: has no scheme"},
	} {
		config, problems := CheckProxySecret("login", row.secret)
		if text := problems.String(); (text == "") != (row.says == "") || !strings.Contains(text, row.says) || strings.Contains(text, password) {
			t.Errorf("%s: problems %q", name, text)
		}
		if row.says == "" && config.HTTPS != "http://u:"+password+"@p:1" {
			t.Errorf("%s: %+v", name, config)
		}
	}
	if problems := CheckClusterProxy(proxy.Config{HTTP: "u:" + password + "@p"}); !strings.Contains(problems.String(), "Proxy/cluster, key status.httpProxy: has no scheme") {
		t.Errorf("problems %q", problems)
	}
}

func TestRegistries(t *testing.T) {
	good := "[[registry]]\nlocation='quay.io'\n[[registry.mirror]]\nlocation='m.example.com'\n"
	for name, row := range map[string]struct {
		cm   *corev1.ConfigMap
		some bool
		says string
	}{
		"no ConfigMap":   {nil, false, ""},
		"empty":          {configMap(api.KeyRegistriesConf, "\n"), false, ""},
		"without tables": {configMap(api.KeyRegistriesConf, "short-name-mode='permissive'"), false, ""},
		"good":           {configMap(api.KeyRegistriesConf, good), true, ""},
		"broken":         {configMap(api.KeyRegistriesConf, "[[registry]]\nlocation='https://x'\n[[registry]]\n"), false, "ConfigMap/registries-conf, key registries.conf: [[registry]] 1: "},
	} {
		config, problems := Registries(row.cm, registriesconf.MirrorSets{})
		text := problems.String()
		if (config != nil) != row.some || (text == "") != (row.says == "") || !strings.Contains(text, row.says) || strings.Contains(text, "\n") {
			t.Errorf("%s: %+v, problems %q", name, config, text)
		}
	}
}
