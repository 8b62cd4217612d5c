package imagebuilder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

func (v Volumes) readPlan() (plan, error) {
	var p plan
	content, err := os.ReadFile(v.plan())
	if err != nil {
		return p, fmt.Errorf("reading build plan: %w", err)
	}
	if err := json.Unmarshal(content, &p); err != nil {
		return p, fmt.Errorf("reading build plan: %w", err)
	}
	return p, nil
}
