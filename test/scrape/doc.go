// Command scrape writes what Prometheus would read from the controller while
// something good or bad happens to it. It runs the real loop on a real API
// server, with runs by a script and a clock that is set forward, and scrapes it
// over HTTP. Module test/observability asks the alerts and the dashboard about
// what it writes.
//
// Each scenario becomes a folder of files SECONDS.prom: the answer to every
// scrape from that second on, until the next file's. An empty file is a scrape
// that is not answered. The last file tells only when the scenario ends.
package main
