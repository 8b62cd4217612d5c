package render

import (
	"errors"
	"strings"
	"testing"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/ignition/spec2"
)

// TestMessagesHoldNoContent: what is wrong with a config is told without what is
// in it, however much and however often.
func TestMessagesHoldNoContent(t *testing.T) {
	const secret = "f4kes3cret"
	const bad2, bad3 = `{"filesystem":"root","path":"/b","mode":99999}`, `{"path":"/b","mode":99999}`
	config2 := func(files string) string {
		return `{"ignition":{"version":"2.2.0"},"passwd":{"users":[{"name":"core","passwordHash":"` + secret + `"}]},"storage":{"files":[` +
			`{"filesystem":"root","path":"/a","mode":420,"contents":{"source":"data:,` + secret + strings.Repeat("x", 100<<10) + `"}}` + files + `]}}`
	}
	config3 := func(files string) string {
		return `{"ignition":{"version":"3.2.0"},"storage":{"files":[{"path":"/a","contents":{"source":"data:,` + secret + strings.Repeat("x", 100<<10) + `"}}` + files + `]}}`
	}
	for name, raw := range map[string]string{
		"a misspelt key, spec 2": config2(`,{"filesystem":"root","path":"/c","mode":420,"misspelt":1}`),
		"a fault, spec 2":        config2("," + bad2),
		"many faults, spec 2":    config2(strings.Repeat(","+bad2, 30)),
		"a misspelt key, spec 3": config3(`,{"path":"/c","misspelt":1}`),
		"many faults, spec 3":    config3(strings.Repeat(","+bad3, 30)),
	} {
		t.Run(name, func(t *testing.T) {
			var sources []*Source
			for _, n := range strings.Split(strings.Repeat("a", 5), "") {
				mc := &mcfgv1.MachineConfig{ObjectMeta: metav1.ObjectMeta{Name: n}}
				mc.Spec.Config.Raw = []byte(raw)
				sources = append(sources, readOne(&Cache{Convert: spec2.Convert}, mc))
			}
			var told []string
			rendered, err := Render(pool("worker"), sources, "v1")
			var refusal *Refusal
			switch {
			case errors.As(err, &refusal):
				told = append(told, refusal.Message)
			case err != nil:
				t.Fatal(err)
			default:
				told = rendered.Warnings
			}
			if len(told) == 0 {
				t.Fatal("nothing is told")
			}
			for _, text := range told {
				if strings.Contains(text, secret) || len(text) > 4*maxMessage {
					t.Errorf("%d bytes: %.300s", len(text), text)
				}
			}
		})
	}
}
