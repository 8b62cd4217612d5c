//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// TestConfigAndDockerfileOfAnySize builds the largest of both that the API
// server takes: a config that does not compress, and a Dockerfile of a megabyte.
func TestConfigAndDockerfileOfAnySize(t *testing.T) {
	s := newScenario(t)
	noise := make([]byte, 1<<20)
	for i, seed := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(seed.Uint32())
	}
	config := live.FileConfig("rendered-worker-large", "/etc/noise", "")
	config.Spec.Config.Raw = fmt.Appendf(nil,
		`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/noise","mode":420,"contents":{"source":"data:;base64,%s"}}]}}`,
		base64.StdEncoding.EncodeToString(noise))
	const comment = "# Nothing but words, and many of them.\n"
	s.customDockerfile("FROM configs AS final\n" + strings.Repeat(comment, (1<<20-200)/len(comment)) + "RUN echo last > /etc/last\n")
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))

	for _, input := range []string{"configmap/mc-" + config.Name + "-1", "configmap/dockerfile-" + config.Name + "-1"} {
		s.eventually("there is a second "+input, func() error {
			objects, err := cluster.BuildObjects(s.ctx, worker)
			if err == nil && !slices.Contains(objects, input) {
				err = fmt.Errorf("there are %q", objects)
			}
			return err
		})
	}
	compareFiles(t, s.files(s.built(config.Name)), map[string]live.File{
		"etc/noise": file(0o644, 0, string(noise)),
		"etc/last":  file(0o644, 0, "last\n"),
	})
	s.onlyLeft("configmap/digest-" + config.Name)
}

func TestConfigOfFiveThousandFiles(t *testing.T) {
	const files = 5000
	s := newScenario(t)
	config := live.FileConfig("rendered-worker-many", "/etc/many", "")
	var list []string
	want := map[string]live.File{}
	for i := range files {
		path := fmt.Sprintf("etc/many/%d/%d", i%50, i)
		list = append(list, fmt.Sprintf(`{"path":"/%s","mode":420,"contents":{"source":"data:,%d"}}`, path, i))
		want[path] = file(0o644, 0, fmt.Sprint(i))
	}
	config.Spec.Config.Raw = fmt.Appendf(nil, `{"ignition":{"version":"3.4.0"},"storage":{"files":[%s]}}`, strings.Join(list, ","))
	s.addWorkers(config)
	s.must(cluster.OptIn(s.ctx, worker))
	compareFiles(t, s.files(s.built(config.Name)), want)
}
