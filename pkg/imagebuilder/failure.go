package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/configlayer"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/handover"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
	"github.com/machine-os-builder/machine-os-builder/pkg/registry"
	"github.com/machine-os-builder/machine-os-builder/pkg/registryaccess"
)

// Failure is an error that knows the reason it is to be reported under.
type Failure struct {
	Reason string // a condition reason of package api
	Err    error
	// Step tells about a Dockerfile step that failed, if one did.
	Step *FailedStep
}

// FailedStep is a Dockerfile instruction that did not succeed.
type FailedStep struct {
	Text     string
	Line     int // in the custom Dockerfile; 0 when it is not of it
	ExitCode int
	Log      []string
}

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap implements errors.Unwrap.
func (f *Failure) Unwrap() error { return f.Err }

// fail gives an error a reason, unless it has one.
func fail(reason string, err error) error {
	var known *Failure
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &Failure{Reason: reason, Err: err}
}

// Report makes the result of what a command did: of a nil error, success. What
// looks like a credential is left out here already: a result is cut to its size,
// and who reads it later cannot tell the half of one.
func Report(result buildspec.Result, err error) buildspec.Result {
	if err == nil {
		result.Succeeded = true
		return result
	}
	result.Succeeded, result.Digest, result.Members = false, "", nil
	hide := redact.New()
	result.Reason, result.Message = reasonOf(err), hide.Text(err.Error()+hint(err))
	var failure *Failure
	if errors.As(err, &failure) && failure.Step != nil {
		result.Step, result.Line = hide.Text(failure.Step.Text), failure.Step.Line
		result.ExitCode, result.Log = failure.Step.ExitCode, hide.Lines(failure.Step.Log)
	}
	return result
}

func reasonOf(err error) string {
	var failure *Failure
	var config *configlayer.ConfigError
	var lint *dockerfile.LintError
	switch {
	case errors.Is(err, context.Canceled):
		return api.ReasonBuildInterrupted
	case errors.As(err, &config):
		return api.ReasonInvalidRenderedConfig
	case errors.As(err, &lint):
		return api.ReasonInvalidDockerfile
	case errors.As(err, &failure):
		return failure.Reason
	case errors.Is(err, registryaccess.ErrStale):
		return api.ReasonBuildInterrupted
	case errors.Is(err, registryaccess.ErrInvalid):
		return api.ReasonInvalidConfig
	default:
		return api.ReasonBuildFailed
	}
}

// hint says what an administrator can do about a registry's answer, or about
// steps that reach further than they should.
func hint(err error) string {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Sprintf(" (raise limits.ephemeral-storage in %s, which is also the size of the pod's volumes)", api.KeyBuildPodResources)
	}
	if errors.Is(err, handover.ErrRefused) {
		return " (see what the steps of the custom Dockerfile write outside of their root)"
	}
	if errors.Is(err, registry.ErrProxy) {
		return fmt.Sprintf(" (correct the proxy's login in the Secret that %s names, let the proxy lead to that host, or name the host in %s)", api.KeyProxySecretName, api.KeyNoProxy)
	}
	var answer *registry.Error
	if !errors.As(err, &answer) {
		return ""
	}
	advice := map[error]string{
		registry.ErrUnauthorized: "the Secret has no login that this registry accepts",
		registry.ErrDenied:       "the login in the Secret has no right to that repository",
		registry.ErrTLS:          "the registry's certificate must be trusted by the builder",
		registry.ErrRateLimited:  "the registry limits requests: a login, or a mirror, has higher limits",
		registry.ErrNotFound:     "check the pullspec",
	}
	for class, text := range advice {
		if errors.Is(answer.Class, class) {
			return fmt.Sprintf(" (%s)", text)
		}
	}
	return ""
}
