// Package workload makes configs and pools of the size that clusters have.
package workload
