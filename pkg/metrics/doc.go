// Package metrics holds the metrics that the controllers publish.
//
// Gauges are computed from the caches at every scrape, so that a restart, an
// opt-out or a deleted pool needs no bookkeeping. Counters count what the loop
// sees for the first time: a run is known by its UID, so that neither a write
// without an answer nor a cache that is behind makes one count twice or not at
// all.
package metrics
