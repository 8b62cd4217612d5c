// Package figure turns measured values into tables: medians with their ranges,
// held against what is wanted of them.
package figure
