// Package render is the loop that keeps every pool's rendered config up to date,
// on clusters without OpenShift's machine-config-controller. It gathers the
// MachineConfigs that a pool selects, lets package pkg/render merge them, creates
// what comes of it, makes the pool target that, and deletes rendered configs that
// nothing names any more.
//
// A pool whose MachineConfigs make no rendered config keeps the last one that was
// good; its condition RenderDegraded, which this loop alone writes, says why.
//
// Nothing is remembered that a restart may not forget: rendering again gives the
// same name.
package render
