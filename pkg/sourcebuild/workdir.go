package sourcebuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/gitsource"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
)

// WorkDir is what the containers of a pod share that run nothing of the user's. The
// one that does can only read it.
type WorkDir string

// inputs is all that is given to the build; the context is in it.
func (w WorkDir) inputs() string { return filepath.Join(string(w), "inputs") }

// generated is the context that source-to-image makes of them.
func (w WorkDir) generated() string { return filepath.Join(string(w), "generated") }

func (w WorkDir) sourceInfo() string { return filepath.Join(string(w), "sourceinfo.json") }
func (w WorkDir) dockerfile() string { return filepath.Join(string(w), "Dockerfile") }
func (w WorkDir) plan() string       { return filepath.Join(string(w), "plan.json") }

// builtImage is the name of the result in the store.
const builtImage = "localhost/build:latest"

// plan is what Prepare found out and the later containers need to know.
type plan struct {
	Driver buildah.Driver `json:"driver"`
	// Context is the build context's directory.
	Context string `json:"context"`
	// Stages is how many the Dockerfile has.
	Stages int `json:"stages"`
	// Present are the base's layers that lie in the output's repository.
	Present []handover.Layer `json:"present,omitempty"`
}

func writeJSON(file string, value any) error {
	content, err := json.Marshal(value)
	if err == nil {
		err = os.WriteFile(file, content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", filepath.Base(file), err)
	}
	return nil
}

func (w WorkDir) readPlan() (plan, error) {
	var p plan
	content, err := os.ReadFile(w.plan())
	if err == nil {
		err = json.Unmarshal(content, &p)
	}
	if err != nil {
		return p, fmt.Errorf("reading plan.json: %w", err)
	}
	return p, nil
}

// readSourceInfo returns what was cloned; nil where there was nothing to clone.
func (w WorkDir) readSourceInfo() (*gitsource.Info, error) {
	content, err := os.ReadFile(w.sourceInfo())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	info := &gitsource.Info{}
	if err == nil {
		err = json.Unmarshal(content, info)
	}
	if err != nil {
		return nil, fmt.Errorf("reading sourceinfo.json: %w", err)
	}
	return info, nil
}
