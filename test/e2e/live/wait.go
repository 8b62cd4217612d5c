package live

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// patience is how long anything may take on a busy machine.
const patience = 6 * time.Minute

// pollInterval is short, since what waits is a person or a test.
const pollInterval = 50 * time.Millisecond

// Eventually waits until a check returns nil; its error holds what the check
// said last. ErrBuildFailed ends the wait at once.
func Eventually(ctx context.Context, what string, check func(context.Context) error) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, patience, true, func(ctx context.Context) (bool, error) {
		err := check(ctx)
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if errors.Is(err, ErrBuildFailed) {
			return false, err
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("waiting until %s: %w (last: %w)", what, err, last)
	}
	return nil
}
