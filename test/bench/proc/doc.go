// Package proc reads what Linux tells in /proc of a process and of the machine.
package proc
