package imagebuilder

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
)

// readChunks reads the chunks that are mounted in a directory, in order of their
// names.
func readChunks(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var chunks []string
	for _, entry := range entries { // sorted by name
		// A mounted ConfigMap has hidden entries of the kubelet's besides the keys.
		if entry.Name()[0] == '.' {
			continue
		}
		chunk, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, string(chunk))
	}
	return chunks, nil
}

// readMachineConfig puts the mounted chunks together and checks them against the
// hash.
func readMachineConfig(dir, sha256 string) (*mcfgv1.MachineConfig, error) {
	chunks, err := readChunks(dir)
	if err != nil {
		return nil, fmt.Errorf("reading MachineConfig: %w", err)
	}
	document, err := buildspec.Payload{SHA256: sha256, Chunks: chunks}.Decode()
	if err != nil {
		return nil, stale(fmt.Errorf("reading MachineConfig: %w", err))
	}
	config := &mcfgv1.MachineConfig{}
	if err := json.Unmarshal(document, config); err != nil {
		return nil, fail(api.ReasonInvalidRenderedConfig, fmt.Errorf("reading MachineConfig: %w", err))
	}
	return config, nil
}

// stale marks an input that does not match its hash. The kubelet can show the pod
// what an input of the same name held for the pod before it; another try sees the
// right one.
func stale(err error) error {
	return fail(api.ReasonBuildInterrupted, fmt.Errorf("%w: %w", registryaccess.ErrStale, err))
}
