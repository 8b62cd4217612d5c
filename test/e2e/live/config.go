package live

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// ExampleConfig is the project's own rendered MachineConfig.
func (c *Cluster) ExampleConfig() (*mcfgv1.MachineConfig, error) {
	return readConfig(filepath.Join(c.Root, "test", "e2e", "testdata", "rendered-worker.yaml"))
}

// RealConfig is the rendered MachineConfig of a real worker, from the folder
// MOB_TEST_DATA or from shared/data beside the repository; nil where there is
// none. The base image that it names is left out.
func (c *Cluster) RealConfig() (*mcfgv1.MachineConfig, error) {
	dir := os.Getenv("MOB_TEST_DATA")
	if dir == "" {
		dir = filepath.Join(c.Root, "..", "shared", "data")
	}
	mc, err := readConfig(filepath.Join(dir, "aws-rendered-worker.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return mc, err
}

// FileConfig is a rendered MachineConfig with one file.
func FileConfig(name, path, content string) *mcfgv1.MachineConfig {
	return &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: fmt.Appendf(nil,
			`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":%q,"mode":420,"overwrite":true,"contents":{"source":"data:,%s"}}]}}`, path, content)}},
	}
}

func readConfig(path string) (*mcfgv1.MachineConfig, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading MachineConfig: %w", err)
	}
	var mc mcfgv1.MachineConfig
	if err := yaml.Unmarshal(data, &mc); err != nil {
		return nil, fmt.Errorf("reading MachineConfig %s: %w", path, err)
	}
	mc.ObjectMeta = metav1.ObjectMeta{Name: mc.Name}
	mc.Spec.OSImageURL, mc.Spec.BaseOSExtensionsContainerImage = "", ""
	return &mc, nil
}
