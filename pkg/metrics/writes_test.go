package metrics_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
)

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCountWrites(t *testing.T) {
	r := prometheus.NewRegistry()
	status := 0
	client := metrics.CountWrites(r)(transport(func(*http.Request) (*http.Response, error) {
		if status == 0 {
			return nil, errors.New("connection refused")
		}
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	}))
	for _, request := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/api/v1/namespaces/builds/pods", 200},
		{http.MethodPost, "/api/v1/namespaces/builds/pods", 201},
		{http.MethodDelete, "/api/v1/namespaces/builds/pods/build-a", 200},
		{http.MethodDelete, "/api/v1/namespaces/builds/pods/build-a", 404},
		{http.MethodPost, "/api/v1/namespaces/builds/configmaps", 409},
		{http.MethodPost, "/api/v1/namespaces/builds/configmaps", 0},
		{http.MethodPut, "/api/v1/namespaces/builds/configmaps/digest-a", 200},
		{http.MethodPatch, "/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker", 200},
		{http.MethodPatch, "/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker/status", 200},
		{http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/builds/leases/x", 200},
		{http.MethodPost, "/api/v1/namespaces", 201},
		{http.MethodPost, "/", 200},
	} {
		status = request.status
		response, err := client.RoundTrip(httptest.NewRequest(request.method, request.path, nil))
		if (err != nil) != (request.status == 0) {
			t.Errorf("%s %s: %v", request.method, request.path, err)
		}
		if err == nil && response.StatusCode != request.status {
			t.Errorf("%s %s: status %d is passed on as %d", request.method, request.path, request.status, response.StatusCode)
		}
	}
	wantSamples(t, r, []string{
		`ocl_api_writes_total{resource=""} 1`,
		`ocl_api_writes_total{resource="configmaps"} 1`,
		`ocl_api_writes_total{resource="leases"} 1`,
		`ocl_api_writes_total{resource="machineconfigpools"} 2`,
		`ocl_api_writes_total{resource="namespaces"} 1`,
		`ocl_api_writes_total{resource="pods"} 2`,
	}, "ocl_api_writes_total")
}

func TestImages(t *testing.T) {
	r := prometheus.NewRegistry()
	images := metrics.NewImages(r)
	images.Ended(metrics.Deleted)
	images.Ended(metrics.Deleted)
	images.Ended(metrics.Forbidden)
	wantSamples(t, r, []string{
		`ocl_image_deletions_total{state="deleted"} 2`,
		`ocl_image_deletions_total{state="failed"} 0`,
		`ocl_image_deletions_total{state="forbidden"} 1`,
		`ocl_image_deletions_total{state="gone"} 0`,
	}, "ocl_image_deletions_total")
}

// TestScrapesAtOnce: whoever asks without end does not make the process grow.
func TestScrapesAtOnce(t *testing.T) {
	const asked = 10
	entered, leave := make(chan struct{}, asked), make(chan struct{})
	slow := prometheus.NewRegistry()
	slow.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slow"}, func() float64 {
		entered <- struct{}{}
		<-leave
		return 0
	}))
	handler := metrics.Handler(slow)
	answers := make(chan int, asked)
	for range asked {
		go func() {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			answers <- answer.Code
		}()
	}
	for range 3 {
		<-entered
	}
	for range asked - 3 {
		select {
		case code := <-answers:
			if code != http.StatusServiceUnavailable {
				t.Errorf("a scrape too many is answered with %d", code)
			}
		case <-entered:
			t.Fatal("more than 3 scrapes work at once")
		}
	}
	close(leave)
	for range 3 {
		if code := <-answers; code != http.StatusOK {
			t.Errorf("a scrape that was let in is answered with %d", code)
		}
	}
}
