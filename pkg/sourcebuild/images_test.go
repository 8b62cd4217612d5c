package sourcebuild

import (
	"runtime"
	"strings"
	"testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
)

// TestImageForOtherNodes: the message says which field chooses others.
func TestImageForOtherNodes(t *testing.T) {
	_, err := forThisMachine(&registry.Base{Name: "quay.io/base:1", Images: []*registry.BaseImage{{Platform: "linux/none"}}})
	if err == nil {
		t.Fatal("an image for another architecture was chosen")
	}
	for _, want := range []string{"quay.io/base:1", "linux/none", "linux/" + runtime.GOARCH, "spec.nodeSelector"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %s", err, want)
		}
	}
}
