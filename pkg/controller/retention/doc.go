// Package retention is the loop that deletes old images from their registry. It
// gathers what exists, lets package pkg/retention decide, and carries that out:
// marks in build records first, deletions after a second, live look.
//
// Nothing is remembered that a restart may not forget: the marks lie in the
// records, an image that was deleted before its record knew is deleted again,
// which a registry answers with "not found", and that is success.
//
// A worker of its own deletes what is kept of the single steps of a pool's builds, once
// the pool has no build cache any more. Where that lies follows from the pool.
package retention
