package buildconfig

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

func TestServiceCA(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}))
	for name, row := range map[string]struct {
		cm     *corev1.ConfigMap
		bundle string
		wrong  bool
	}{
		"no ConfigMap":      {nil, "", false},
		"not filled in yet": {configMap(), "", false},
		"empty":             {configMap(api.ServiceCAKey, "\n"), "", false},
		"one":               {configMap(api.ServiceCAKey, certificate), certificate, false},
		"two, with a note":  {configMap(api.ServiceCAKey, "# note\n"+certificate+certificate), "# note\n" + certificate + certificate, false},
		"text":              {configMap(api.ServiceCAKey, "later"), "", true},
		"a private key":     {configMap(api.ServiceCAKey, key), "", true},
	} {
		bundle, problems := ServiceCA(row.cm)
		if string(bundle) != row.bundle || (len(problems) > 0) != row.wrong {
			t.Errorf("%s: bundle %q, problems %q", name, bundle, problems)
		}
		if row.wrong && !strings.Contains(problems.String(), api.ConfigMapServiceCA+", key "+api.ServiceCAKey) {
			t.Errorf("%s: %q does not name the key", name, problems)
		}
		if strings.Contains(problems.String(), key) {
			t.Errorf("%s: %q shows the content", name, problems)
		}
	}
}
