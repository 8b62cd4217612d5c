// Package chosen is several back-ends as one: each build is the affair of the one
// that it was started with.
package chosen
