// Package observability asks the alerts, the dashboard and the queries in the
// runbooks about real scrapes, as Prometheus would: test/scrape writes what is
// read from the controller while something good or bad happens to it, and
// Prometheus' own engine evaluates the expressions over it. It is a module of
// its own, so that Prometheus is no dependency of the product.
package observability
