// Package controller runs loops: a queue of keys, workers that take them, and
// retries with backoff. It knows nothing of what a key stands for.
package controller
