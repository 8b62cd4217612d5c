package inputs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

// TestNetworkIsAnInput only where there is something to say; what a Secret holds
// is not copied.
func TestNetworkIsAnInput(t *testing.T) {
	through := proxy.Config{HTTPS: "http://proxy:1", No: ".svc"}
	for name, row := range map[string]struct {
		network buildspec.Network
		want    map[string]string
	}{
		"nothing":             {},
		"mirrors":             {buildspec.Network{Registries: "x"}, map[string]string{api.KeyRegistriesConf: "x"}},
		"a proxy":             {buildspec.Network{Proxy: through}, map[string]string{api.KeyHTTPSProxy: "http://proxy:1", api.KeyNoProxy: ".svc"}},
		"a Secret's proxy":    {buildspec.Network{Proxy: through, ProxySecret: "login"}, nil},
		"mirrors and a proxy": {buildspec.Network{Registries: "x", Proxy: proxy.Config{HTTP: "http://proxy:1"}}, map[string]string{api.KeyRegistriesConf: "x", api.KeyHTTPProxy: "http://proxy:1"}},
	} {
		r := buildspec.Request{RenderedConfig: "rendered-worker-1", Network: row.network}
		var got map[string]string
		for _, cm := range dependents(r, &corev1.ConfigMap{}) {
			if cm.Name == names.NetworkMap(r.RenderedConfig) {
				got = cm.Data
			}
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
