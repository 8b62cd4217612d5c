package imagebuilder

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/steplog"
)

// maxStepFile bounds one of them; a ConfigMap or Secret has less.
const maxStepFile = 4 << 20

// stepVolumes returns the flags that show the steps their files, which lie below from
// (buildspec.StepFiles). Those are copied first: what the kubelet mounts is a link
// to a link, in a mount that a user namespace may not mount again. A directory
// without files is left out, since it would hide what the base image has there. The
// step that installs packages puts away for its time what else is in the directory
// of repositories: that one it must write.
func stepVolumes(program *buildah.Program, from string, file *dockerfile.File) ([]string, error) {
	var flags []string
	for _, name := range slices.Sorted(maps.Keys(buildspec.StepFiles)) {
		dir, to := filepath.Join(program.Dir(), "steps", name), buildspec.StepFiles[name]
		count, err := copyFiles(filepath.Join(from, name), dir)
		if err != nil {
			return nil, fmt.Errorf("laying out %s for the steps: %w", to, err)
		}
		if count == 0 {
			continue
		}
		mode := "ro"
		if to == dockerfile.RepositoriesDir && !file.Configs().Packages.IsZero() {
			mode = "rw"
		}
		flags = append(flags, "--volume", dir+":"+to+":"+mode)
	}
	return flags, nil
}

// copyFiles copies the files of a mounted ConfigMap or Secret, which are readable
// to whoever a step runs as, and returns how many there are.
func copyFiles(from, to string) (int, error) {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	count := 0
	for _, entry := range entries {
		// The kubelet's own entries begin so.
		if entry.Name()[0] == '.' {
			continue
		}
		content, err := readBounded(filepath.Join(from, entry.Name()))
		if err != nil {
			return 0, err
		}
		if count == 0 {
			if err := os.MkdirAll(to, 0o755); err != nil { //nolint:gosec // a step may run as any user
				return 0, err
			}
		}
		if err := os.WriteFile(filepath.Join(to, entry.Name()), content, 0o644); err != nil { //nolint:gosec // as above
			return 0, err
		}
		count++
	}
	return count, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxStepFile {
		return nil, fmt.Errorf("%s is no file of at most %s", path, steplog.Size(maxStepFile))
	}
	return os.ReadFile(path)
}
