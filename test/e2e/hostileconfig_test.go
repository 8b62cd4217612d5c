//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// hostileConfigs are what a storage section says of paths that no file of an
// image may have, and what the pool says of them.
var hostileConfigs = map[string]struct {
	storage string
	says    []string
}{
	"upwards":  {`"files":[{"path":"/etc/../../../x"}]`, []string{"storage.files.0.path"}},
	"newline":  {`"files":[{"path":"/etc/a\nb"}]`, []string{"storage.files[0].path", "control character"}},
	"nul":      {`"links":[{"path":"/etc/a","target":"a\u0000b"}]`, []string{"storage.links[0].target", "NUL"}},
	"whiteout": {`"files":[{"path":"/etc/.wh.passwd"}]`, []string{"storage.files[0].path", "would remove files"}},
	"beneath":  {`"links":[{"path":"/etc/out","target":"/proc/1/root"}],"files":[{"path":"/etc/out/x"}]`, []string{"storage.files.0", "includes link"}},
	"root":     {`"directories":[{"path":"/","overwrite":true}]`, []string{"storage.directories[0].path"}},
	"network":  {`"files":[{"path":"/etc/x","contents":{"source":"file:///var/run/secrets/push/.dockerconfigjson"}}]`, []string{"storage.files"}},
}

func TestHostileConfigsAreRefusedByPath(t *testing.T) {
	s := newScenario(t)
	s.configure(map[string]string{api.KeyMaxConcurrentBuilds: fmt.Sprint(len(hostileConfigs) + 1)})
	for pool, row := range hostileConfigs {
		s.addPool(pool, row.storage)
	}
	const outwards = "outwards"
	s.addPool(outwards, `"links":[{"path":"/etc/outwards","target":"../../../../../../etc/passwd"},{"path":"/etc/device","target":"/dev/sda"}]`)
	for pool, row := range hostileConfigs {
		s.prove(pool, func(s *scenario) { s.failedAs(pool, api.ReasonInvalidRenderedConfig, row.says...) })
	}
	s.prove("a link that leads out of the root is a link and no more", func(s *scenario) {
		compareFiles(s.t, s.files(s.builtFor(outwards)), map[string]live.File{
			"etc/outwards": link("../../../../../../etc/passwd"), "etc/device": link("/dev/sda"),
		})
	})
}

// addPool makes a pool whose config has a storage section, and opts it in.
func (s *scenario) addPool(pool, storage string) {
	s.t.Helper()
	s.must(cluster.SetMachineConfig(s.ctx, &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: configOf(pool)},
		Spec:       mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: fmt.Appendf(nil, `{"ignition":{"version":"3.4.0"},"storage":{%s}}`, storage)}},
	}))
	s.must(cluster.AddPool(s.ctx, pool, configOf(pool)))
	s.must(cluster.OptIn(s.ctx, pool))
}
