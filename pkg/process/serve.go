package process

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/metrics"
)

// serve starts the health and metrics servers; an address that cannot be
// listened on is an error at once.
func serve(o Options, gatherer prometheus.Gatherer, healthy func(*http.Request) error, ready *atomic.Bool) (httpServers, error) {
	health := http.NewServeMux()
	health.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { answer(w, healthy(r) == nil) })
	health.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, ready.Load()) })
	measures := http.NewServeMux()
	measures.Handle("/metrics", metrics.Handler(gatherer))

	var servers httpServers
	for _, s := range []struct {
		address string
		handler http.Handler
	}{{o.HealthAddress, health}, {o.MetricsAddress, measures}} {
		if s.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", s.address)
		if err != nil {
			servers.close()
			return nil, fmt.Errorf("listening on %s: %w", s.address, err)
		}
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute}
		servers = append(servers, server)
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				klog.Background().Error(err, "Server ended", "address", s.address)
			}
		}()
	}
	return servers, nil
}

func answer(w http.ResponseWriter, ok bool) {
	if !ok {
		http.Error(w, "no", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
