// Package gitsource clones the git repository of a Build with the programs git and
// ssh, and says which commit it is. Logins go to the programs by files of a directory
// of its own: no command line, environment, log or error has one, and nothing of them
// stays in the clone.
package gitsource
