package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
)

// converterName is the program that lies beside this one.
const converterName = "convert-ignition"

// convertTime is far more than the largest config takes.
const convertTime = time.Minute

// converter is an ignition.Converter that runs the program in the folder of this
// one.
func converter() (ignition.Converter, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("looking for %s beside this program: %w", converterName, err)
	}
	return converterAt(filepath.Join(filepath.Dir(self), converterName), convertTime), nil
}

// converterAt runs the program at path; cmd/convert-ignition says what it takes
// and gives.
func converterAt(path string, limit time.Duration) ignition.Converter {
	return func(raw []byte) (ignition.Converted, error) {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		cmd := exec.CommandContext(ctx, path)
		cmd.Stdin, cmd.Env = bytes.NewReader(raw), []string{}
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return ignition.Converted{}, errors.New(string(exit.Stderr))
		}
		if err != nil {
			if ctx.Err() != nil {
				err = fmt.Errorf("it takes longer than %s", limit)
			} else if exit != nil {
				err = fmt.Errorf("%w: %s", err, firstLine(exit.Stderr))
			}
			return ignition.Converted{}, fmt.Errorf("%w: running %s: %w", ignition.ErrNoConverter, path, err)
		}
		var converted ignition.Converted
		if err := json.Unmarshal(out, &converted); err != nil {
			return ignition.Converted{}, fmt.Errorf("%w: %s answered what is no JSON", ignition.ErrNoConverter, path)
		}
		return converted, nil
	}
}

// firstLine leaves out the rest of a crash: it names addresses, which differ each
// time, and the error goes into a pool's condition.
func firstLine(stderr []byte) string {
	const most = 200
	line, _, _ := strings.Cut(string(stderr), "\n")
	return strings.ToValidUTF8(line[:min(len(line), most)], "")
}
