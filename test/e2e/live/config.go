package live

import (
	"encoding/json"
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

// RealConfigs are the MachineConfigs of a real worker, from the folder
// MOB_TEST_DATA or from shared/data beside the repository; none where there is
// no such folder. The base image that they name is left out.
func (c *Cluster) RealConfigs() ([]*mcfgv1.MachineConfig, error) {
	dir := os.Getenv("MOB_TEST_DATA")
	if dir == "" {
		dir = filepath.Join(c.Root, "..", "shared", "data")
	}
	data, err := os.ReadFile(filepath.Join(dir, "aws-worker-machineconfigs.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading MachineConfigs: %w", err)
	}
	var list mcfgv1.MachineConfigList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("reading MachineConfigs: %w", err)
	}
	var configs []*mcfgv1.MachineConfig
	for _, mc := range list.Items {
		mc.ObjectMeta = metav1.ObjectMeta{Name: mc.Name, Labels: mc.Labels}
		mc.Spec.OSImageURL, mc.Spec.BaseOSExtensionsContainerImage = "", ""
		configs = append(configs, &mc)
	}
	return configs, nil
}

// FileConfig is a rendered MachineConfig with one file.
func FileConfig(name, path, content string) *mcfgv1.MachineConfig {
	return SourceConfig(name, path, "data:,"+content)
}

// SourceConfig is one with a file that has its content from a URL.
func SourceConfig(name, path, source string) *mcfgv1.MachineConfig {
	return &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: fmt.Appendf(nil,
			`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":%q,"mode":420,"overwrite":true,"contents":{"source":%q}}]}}`, path, source)}},
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
	return &mc, nil
}
