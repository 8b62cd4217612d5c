package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
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
	converted, err := convert(raw)
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

// convert makes an error of a panic: the libraries were not made for what anybody
// may write, and who asks would ask for ever. What the panic says may hold content.
func convert(raw []byte) (converted ignition.Converted, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("converting Ignition config from spec 2 to 3: the converter gave up; write the config in spec 3")
		}
	}()
	return spec2.Convert(raw)
}
