package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// endOfPath ends each path in a list: no path has it.
const endOfPath = "\x00"

func writeRemoved(file string, paths []string) error {
	var list strings.Builder
	for _, p := range paths {
		list.WriteString(p + endOfPath)
	}
	return os.WriteFile(file, []byte(list.String()), 0o644) //nolint:gosec // a step of any user reads it
}

// RemoveOptions are the inputs of Remove.
type RemoveOptions struct {
	// RemovedFile is what Lay wrote.
	RemovedFile string
	// RootDir is the root of the file system that the layer is laid into.
	RootDir string
}

// Remove takes away what a config layer removes, before its files are copied.
func Remove(_ context.Context, options RemoveOptions, progress *steplog.Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	progress.Step("remove", "taking away what the config removes")
	list, err := os.ReadFile(options.RemovedFile)
	if err != nil {
		return result, fmt.Errorf("reading what the config removes: %w", err)
	}
	root, err := os.OpenRoot(options.RootDir)
	if err != nil {
		return result, fmt.Errorf("opening the file system: %w", err)
	}
	defer func() { _ = root.Close() }()
	paths := strings.Split(strings.TrimSuffix(string(list), endOfPath), endOfPath)
	if len(list) == 0 {
		paths = nil
	}
	for _, p := range paths {
		if err := root.RemoveAll(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return result, fmt.Errorf("removing /%s, which the config does not want: %w", p, err)
		}
		progress.Note("removed /%s", p)
	}
	progress.Done("%d removed", len(paths))
	result.Succeeded = true
	return result, nil
}
