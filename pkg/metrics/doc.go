// Package metrics holds the metrics that the controllers publish. They are
// taken from what was done, in one place, never between the decisions.
package metrics
