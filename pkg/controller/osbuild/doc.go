// Package osbuild is the loop that keeps the image of every opted-in pool
// built. It observes, lets package pkg/osbuild decide, applies what was
// decided, and writes the pool's status; it decides nothing itself.
package osbuild
