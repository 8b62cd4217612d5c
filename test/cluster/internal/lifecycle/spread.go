package lifecycle

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// spreadPods makes the directory in which the kubelet keeps the volumes of
// pods, marked so that ext4 puts those of each pod into another part of the
// disk. An ext4 without a journal passes over every inode that was freed within
// the last minutes, one by one, for each file that it makes near them; a build
// pod frees some ten thousand, and the next one's pull took three times as long.
// Other file systems have no such mark and need none, so a failure is nothing.
func (c Cluster) spreadPods(ctx context.Context) error {
	pods := c.Dirs.Path("kubelet", "pods")
	if err := os.MkdirAll(pods, 0o750); err != nil {
		return fmt.Errorf("making the directory of the pods: %w", err)
	}
	_ = exec.CommandContext(ctx, "chattr", "+T", pods).Run() // see above
	return nil
}
