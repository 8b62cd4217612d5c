package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
)

func main() { os.Exit(run(os.Stdin, os.Stdout, os.Stderr)) }

// run is main with its surroundings passed in; it returns the exit code.
func run(stdin io.Reader, stdout, stderr io.Writer) int {
	raw, err := io.ReadAll(stdin)
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "reading the config: %v", err)
		return 2
	}
	converted, err := spec2.Convert(raw)
	if err != nil {
		_, _ = fmt.Fprint(stderr, err)
		return 1
	}
	if err := json.NewEncoder(stdout).Encode(converted); err != nil {
		_, _ = fmt.Fprintf(stderr, "writing the converted config: %v", err)
		return 2
	}
	return 0
}
