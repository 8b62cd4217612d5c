module github.com/machine-os-builder/machine-os-builder/test/gitssh

go 1.26.8

require (
	github.com/machine-os-builder/machine-os-builder v0.0.0
	golang.org/x/crypto v0.57.0
)

require (
	golang.org/x/net v0.59.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace github.com/machine-os-builder/machine-os-builder => ../..
