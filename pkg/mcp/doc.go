// Package mcp answers what the loops ask of a MachineConfigPool: whether it is opted in,
// whether it has its image, and which conditions it has.
package mcp
