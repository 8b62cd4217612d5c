// Package fake is a builder back-end in memory, for tests of what uses one: its
// runs stand still until a test moves them, and its calls can be made to fail.
package fake
