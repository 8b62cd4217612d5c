package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// PushOptions are the inputs of Push.
type PushOptions struct {
	Access
	Volumes
	FinalImage string
}

// Push pushes what Build left in the store and asks the registry for it. It runs
// nothing of the user's.
func Push(ctx context.Context, options PushOptions, progress *Progress) (result buildspec.Result, err error) {
	defer func() { result.Timings = progress.Timings() }()
	plan, err := options.readPlan()
	if err != nil {
		return result, err
	}
	clients, err := options.Access.clients()
	if err != nil {
		return result, err
	}
	if err := plan.Driver.check(); err != nil {
		return result, err
	}
	program, err := newBuildah(options.Volumes, plan.Driver)
	if err != nil {
		return result, err
	}
	defer program.close()
	login, err := program.login("push", clients.pushCredentials, clients.cas)
	if err != nil {
		return result, err
	}

	progress.Step("push", "pushing %s", options.FinalImage)
	digestFile := filepath.Join(program.tmp, "digest")
	args := append(login, "--digestfile", digestFile, "--retry", "4", "--format", "oci", builtImage, "docker://"+options.FinalImage)
	err = program.run(ctx, func(string) {}, "push", args...)
	if err != nil {
		var exit *exitError
		if errors.As(err, &exit) {
			err = fail(api.ReasonPushFailed, fmt.Errorf("pushing %s: %w", options.FinalImage, err))
		}
		return result, err
	}
	content, err := os.ReadFile(digestFile)
	if err != nil {
		return result, fail(api.ReasonPushFailed, fmt.Errorf("reading the pushed digest: %w", err))
	}
	progress.Done("pushed")

	progress.Step("verify", "asking the registry for %s", options.FinalImage)
	digest := strings.TrimSpace(string(content))
	if err := clients.push.Verify(ctx, options.FinalImage, digest); err != nil {
		return result, pushFailure(err)
	}
	progress.Done("the registry confirms %s", digest)
	result.Digest = digest
	return result, nil
}
