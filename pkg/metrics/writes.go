package metrics

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/transport"
)

// CountWrites counts what the API server carried out for a client, by resource.
// The requests that client-go counts tell no resource, and most of them renew
// the lease.
func CountWrites(r prometheus.Registerer) transport.WrapperFunc {
	writes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "ocl_api_writes_total", Help: "Writes that the API server carried out, by resource.",
	}, []string{"resource"})
	r.MustRegister(writes)
	return func(next http.RoundTripper) http.RoundTripper { return counting{next, writes} }
}

type counting struct {
	next   http.RoundTripper
	writes *prometheus.CounterVec
}

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(r)
	if err == nil && r.Method != http.MethodGet && response.StatusCode < http.StatusMultipleChoices {
		c.writes.WithLabelValues(resourceOf(r.URL.Path)).Inc()
	}
	return response, err
}

// resourceOf reads a path of the Kubernetes API: api/VERSION or
// apis/GROUP/VERSION, perhaps namespaces/NAME, then the resource.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	parts = parts[min(len(parts), map[string]int{"api": 2, "apis": 3}[parts[0]]):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	if len(parts) == 0 {
		return ""
	}
	return parts[0]
}
