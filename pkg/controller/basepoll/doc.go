// Package basepoll is the loop that notices when the tag of a base image has
// moved. Without it that is noticed at the next build, which takes what the tag
// names then; with baseImagePollInterval it is a reason for one.
//
// What a pool's image was built on stands in its build record. When that base's
// tag comes to mean another digest, the loop asks for a rebuild as a user would,
// by the pool's annotation, with the new digest as the token: asking twice is
// asking once. It decides and remembers nothing else.
package basepoll
