// Package basepoll is the loop that notices when the tag of a base image has
// moved. Without it that is noticed at the next build, which takes what the tag
// names then; with baseImagePollInterval it is a reason for one.
//
// What a pool's image was built on stands in its build record, also where the image
// was found in the registry and says so itself. When that base's
// tag comes to mean another digest, the loop asks for a rebuild as a user would,
// by the pool's annotation. The token is made of the new digest and of the pool's
// last build: asking twice is asking once, until something was built. A pool whose
// image is not, or no longer, the one that it should have is not looked at: its
// next build takes what the tag names then. One whose rebuild this loop asked for
// has no such build to come when all tries failed: it is looked at, and built
// again when the tag has moved on from what they failed on.
//
// A build may find another digest than it was asked for, as where replicas of a
// registry or mirrors lag. Asking again would be a build and a rollout at each
// interval, so the loop waits until the tag names yet another one. What it
// remembers decides nothing: answers of registries, and what it has logged.
package basepoll
