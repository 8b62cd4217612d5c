package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
)

// scrape returns the samples of some metrics as a scrape shows them, in its order.
func scrape(t *testing.T, g prometheus.Gatherer, names ...string) []string {
	t.Helper()
	answer := httptest.NewRecorder()
	metrics.Handler(g).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("the scrape is answered with %d: %s", answer.Code, answer.Body)
	}
	var samples []string
	for line := range strings.Lines(answer.Body.String()) {
		name, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		name, _, _ = strings.Cut(name, "{")
		if slices.Contains(names, name) {
			samples = append(samples, strings.TrimSuffix(line, "\n"))
		}
	}
	return samples
}

func wantSamples(t *testing.T, g prometheus.Gatherer, want []string, names ...string) {
	t.Helper()
	if diff := cmp.Diff(want, scrape(t, g, names...)); diff != "" {
		t.Errorf("the scrape differs (-want +got):\n%s", diff)
	}
}
