package imagebuilder

import (
	"fmt"
	"slices"
	"testing"
)

// TestStepsHaveAProcessLimit: that it bites is seen on a cluster.
func TestStepsHaveAProcessLimit(t *testing.T) {
	flags := buildFlags(WorkDir(t.TempDir()), false)
	i := slices.Index(flags, "--ulimit")
	if i < 0 {
		t.Fatalf("buildah gets no --ulimit: %q", flags)
	}
	var soft, hard int
	if _, err := fmt.Sscanf(flags[i+1], "nproc=%d:%d", &soft, &hard); err != nil || soft != hard || hard < 1 || hard > maxProcesses {
		t.Errorf("--ulimit %s, %v", flags[i+1], err)
	}
}
