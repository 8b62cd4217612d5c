// Command convert-ignition turns an Ignition config of spec 2 into one of spec 3.
// The controller runs it beside itself, once for each MachineConfig with such a
// config: linking what it links would cost the controller a fifth of its memory
// all the time (pkg/ignition/spec2).
//
//	stdin   the config
//	stdout  {"config": {...}, "warnings": ["..."]}
//
// A config that cannot be converted ends it with exit code 1 and the findings on
// stderr; code 2 says that they are not about the config.
package main
