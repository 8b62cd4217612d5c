// Package basepoll is the loop that notices when the tag of a base image has
// moved. Without it that is noticed at the next build, which takes what the tag
// names then; with baseImagePollInterval it is a reason for one.
//
// What a pool's image was built on stands in its build record. When that base's
// tag comes to mean another digest, the loop asks for a rebuild as a user would,
// by the pool's annotation. The token is made of the new digest and of the pool's
// last build: asking twice is asking once, until something was built. A pool whose
// image is not, or no longer, the one that it should have is not looked at: its
// next build takes what the tag names then. The loop decides and remembers
// nothing else.
package basepoll
