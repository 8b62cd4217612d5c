// Package buildconfig turns the ConfigMaps and Secrets that an administrator
// writes into typed, validated settings. Everything that is wrong is reported
// at once, each problem with its object, its key, what was found and what to
// do about it.
package buildconfig
