package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapes is how many may be answered at once. Each takes memory with the number
// of pools, and whoever reaches the port may ask.
const scrapes = 3

// Handler answers scrapes.
func Handler(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes})
}
