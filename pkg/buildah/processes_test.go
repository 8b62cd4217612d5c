package buildah

import (
	"fmt"
	"testing"
)

// TestProcessLimit: that it bites is seen on a cluster.
func TestProcessLimit(t *testing.T) {
	var soft, hard int
	if _, err := fmt.Sscanf(ProcessLimit(), "nproc=%d:%d", &soft, &hard); err != nil || soft != hard || hard < 1 || hard > maxProcesses {
		t.Errorf("--ulimit %s, %v", ProcessLimit(), err)
	}
}
