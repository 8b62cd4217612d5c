// Package retention decides which images of a pool may be deleted from their
// registry. It knows no API server, no registry and no clock.
//
// # Life of an image
//
//	needed ──first look that finds it unneeded──▶ marked ──second look, Grace later──▶ deleted
//	   ▲                                            │
//	   └────────────── needed again ────────────────┘
//
// An image is needed while it is one of the newest few of its pool, or the one
// of the config that the pool targets, or named: by a node's current or desired
// image, by a pool's result, by a newer record of another pool, or as a base.
//
// The mark lies in the build record, and its removal is this package's
// decision alone. The build loop uses no image that is marked, it waits until
// the mark is gone; so an image that is being deleted is never annotated.
//
// What the steps left that an image was made of goes with the last such image, and
// the images of an index go with it, unless another image has them too.
//
// # Forbidden
//
//   - Nothing is marked or deleted while the pool is on its way to another image.
//   - A record's own image is never deleted before those that it superseded:
//     the record goes with it.
package retention
