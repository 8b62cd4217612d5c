package live

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// lock waits until no other program uses the cluster: each one begins by
// removing all pools. The lock ends with the process.
func lock(ctx context.Context, env Env) (*os.File, error) {
	path := filepath.Join(filepath.Dir(env.Logs), "in-use")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the cluster: %w", err)
	}
	told := false
	err = wait.PollUntilContextCancel(ctx, time.Second, true, func(context.Context) (bool, error) {
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return true, nil
		}
		if !told {
			told = true
			fmt.Fprintln(os.Stderr, "waiting for another program on this cluster to end")
		}
		return false, nil
	})
	if err != nil {
		return nil, fmt.Errorf("locking the cluster: %w", err)
	}
	return f, nil
}
