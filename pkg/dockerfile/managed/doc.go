// Package managed changes a Dockerfile for a Build: it puts in another base image,
// environment, labels and a post-commit hook. Everything else of the text stays as
// its author wrote it, byte for byte.
package managed
