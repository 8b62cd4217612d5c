package s2i

import (
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"
)

// Reasons of Builds that the API has no constants for; OpenShift passes them
// through from source-to-image as they are.
const (
	ReasonAssembleUserForbidden    buildv1.StatusReason = "AssembleUserForbidden"
	ReasonDockerfileCreationFailed buildv1.StatusReason = "DockerFileCreationFailed"
	ReasonFetchScriptsFailed       buildv1.StatusReason = "FetchScriptsFailed"
	ReasonFileSystemFailed         buildv1.StatusReason = "FileSystemOperationFailed"
	ReasonGenericFailed            buildv1.StatusReason = "GenericS2IBuildFailed"
)

// Error is what Downloads, Plan and ParseUIDs fail with.
type Error struct {
	// Reason is for the Build's status.reason.
	Reason buildv1.StatusReason
	err    error
}

// Error implements error: one sentence for the Build's author.
func (e *Error) Error() string { return e.err.Error() }

// Unwrap returns what lies behind it, such as fs.ErrNotExist.
func (e *Error) Unwrap() error { return e.err }

func failf(reason buildv1.StatusReason, format string, args ...any) error {
	return &Error{Reason: reason, err: fmt.Errorf(format, args...)}
}
