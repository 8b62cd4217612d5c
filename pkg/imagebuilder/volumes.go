package imagebuilder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildah"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
)

// WorkDir is what prepare leaves for the two containers after it, which cannot
// write there: what they read in it is prepare's, whatever the user's steps do.
type WorkDir string

func (w WorkDir) context() string    { return filepath.Join(string(w), "context") }
func (w WorkDir) dockerfile() string { return filepath.Join(string(w), "Dockerfile") }
func (w WorkDir) plan() string       { return filepath.Join(string(w), "plan.json") }

// builtImage is the name of the result in the store.
const builtImage = "localhost/os-image:latest"

// plan is what prepare found out and the later containers need to know.
type plan struct {
	Driver     buildah.Driver `json:"driver"`
	BaseImage  string         `json:"baseImage"`  // as configured
	BaseSource string         `json:"baseSource"` // the repository that it was read from
	BaseDigest string         `json:"baseDigest"` // of the image or index it names
	Platform   string         `json:"platform"`
	// ImageDigest is the base's image for this platform.
	ImageDigest string `json:"imageDigest"`
	// Bases are the base's images by architecture.
	Bases map[string]string `json:"bases"`
	// Present are the layers of the base, and of what is kept of steps, that lie in the
	// final image's repository.
	Present []handover.Layer `json:"present"`
	// DiffIDs are the digests of the tars of the base's layers.
	DiffIDs []string `json:"diffIDs"`
	// ConfigLast is true when push has to lay the config on what the steps leave.
	ConfigLast bool `json:"configLast,omitempty"`
	// StepsKey identifies what they leave. StepsTag names the newest of it in the
	// final image's repository, RebuildTag that of the rebuild that is asked for.
	StepsKey   string `json:"stepsKey,omitempty"`
	StepsTag   string `json:"stepsTag,omitempty"`
	RebuildTag string `json:"rebuildTag,omitempty"`
	// KeptSteps is the digest of what is kept already: then nothing has to run.
	KeptSteps string `json:"keptSteps,omitempty"`
	// Cache is what is kept of single steps; nil where nothing is.
	Cache *stepCache `json:"cache,omitempty"`
	// Epoch is the latest time that the image tells of: when the base was made.
	Epoch time.Time `json:"epoch"`
}

// epochOf is the time that stands for that of a build, which would differ every
// time. 1970 is for a base that does not say when it was made.
func epochOf(created time.Time) time.Time {
	if created.Unix() < 0 {
		return time.Unix(0, 0).UTC()
	}
	return created.UTC().Truncate(time.Second)
}

func (w WorkDir) writePlan(p plan) error {
	content, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("writing build plan: %w", err)
	}
	if err := os.WriteFile(w.plan(), content, 0o600); err != nil {
		return fmt.Errorf("writing build plan: %w", err)
	}
	return nil
}

func (w WorkDir) readPlan() (plan, error) {
	var p plan
	content, err := os.ReadFile(w.plan())
	if err != nil {
		return p, fmt.Errorf("reading build plan: %w", err)
	}
	if err := json.Unmarshal(content, &p); err != nil {
		return p, fmt.Errorf("reading build plan: %w", err)
	}
	return p, nil
}
