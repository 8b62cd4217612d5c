// Command serve lets the git repositories below a folder be cloned over ssh until its
// input ends. It prints a line of JSON with its address, the private key that it lets
// in, and the line of known_hosts that names it.
package main
