package imagebuilder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Volumes are the directories that the three containers of a build share. No
// credential is ever written into them.
type Volumes struct {
	WorkDir    string
	StorageDir string
}

func (v Volumes) context() string    { return filepath.Join(v.WorkDir, "context") }
func (v Volumes) dockerfile() string { return filepath.Join(v.WorkDir, "Dockerfile") }
func (v Volumes) plan() string       { return filepath.Join(v.WorkDir, "plan.json") }

// builtImage is the name of the result in the store.
const builtImage = "localhost/os-image:latest"

// plan is what prepare found out and the later containers need to know.
type plan struct {
	Driver     storageDriver `json:"driver"`
	BaseImage  string        `json:"baseImage"`  // as configured
	BaseDigest string        `json:"baseDigest"` // of the image or index it names
	Platform   string        `json:"platform"`
	// ImageDigest is the base's image for this platform.
	ImageDigest string `json:"imageDigest"`
}

func (v Volumes) writePlan(p plan) error {
	content, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("writing build plan: %w", err)
	}
	if err := os.WriteFile(v.plan(), content, 0o600); err != nil {
		return fmt.Errorf("writing build plan: %w", err)
	}
	return nil
}

// maxPlan bounds the plan file.
const maxPlan = 64 << 10

// readPlan does not wait for, follow or swallow what the user's steps may have
// put in the plan's place.
func (v Volumes) readPlan() (plan, error) {
	var p plan
	content, err := readRegular(v.plan(), maxPlan)
	if err != nil {
		return p, fmt.Errorf("reading build plan: %w", err)
	}
	if err := json.Unmarshal(content, &p); err != nil {
		return p, fmt.Errorf("reading build plan: %w", err)
	}
	return p, nil
}

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = errors.New("too large")
)

// readRegular reads a file of at most limit bytes, and nothing but a file.
func readRegular(path string, limit int64) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", path, errNotRegular)
	}
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", path, errTooLarge, limit)
	}
	return content, nil
}
