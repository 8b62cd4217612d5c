package sourcebuild

import (
	"context"
	"errors"

	buildv1 "github.com/openshift/api/build/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildreport"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

// messages are what OpenShift says of a reason (openshift/builder).
var messages = map[buildv1.StatusReason]string{
	buildv1.StatusReasonFetchSourceFailed:         "Failed to fetch the input source.",
	buildv1.StatusReasonInvalidContextDirectory:   "The supplied context directory does not exist.",
	buildv1.StatusReasonFetchImageContentFailed:   "Failed to extract image content.",
	buildv1.StatusReasonManageDockerfileFailed:    "Failed to prepare the dockerfile for the build.",
	buildv1.StatusReasonPullBuilderImageFailed:    "Failed pulling builder image.",
	buildv1.StatusReasonDockerBuildFailed:         "Dockerfile build strategy has failed.",
	buildv1.StatusReasonGenericBuildFailed:        "Generic Build failure - check logs for details.",
	buildv1.StatusReasonPushImageToRegistryFailed: "Failed to push the image to the registry.",
}

// failure is an error that knows the reason it is to be reported under.
type failure struct {
	reason buildv1.StatusReason
	err    error
	// log is what the failing program printed last.
	log []string
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap implements errors.Unwrap.
func (f *failure) Unwrap() error { return f.err }

// fail gives an error a reason, unless it has one.
func fail(reason buildv1.StatusReason, err error) error {
	var known *failure
	if err == nil || errors.As(err, &known) {
		return err
	}
	return &failure{reason: reason, err: err}
}

// Report makes the report of what a command did: of a nil error, success. The error
// itself is the last line of the log: for the message, the API has a sentence to each
// reason. What looks like a credential is left out here already.
func Report(report buildreport.Report, err error) buildreport.Report {
	if err == nil {
		report.Succeeded = true
		return report
	}
	hide := redact.New()
	report.Succeeded, report.Digest, report.Reason = false, "", buildv1.StatusReasonGenericBuildFailed
	text := hide.Text(err.Error())
	if errors.Is(err, context.Canceled) {
		text = "the build was interrupted: " + text
	}
	var known *failure
	if errors.As(err, &known) {
		report.Reason = known.reason
		report.Log = hide.Lines(known.log)
	}
	report.Log = append(report.Log, "error: "+text)
	if report.Message = messages[report.Reason]; report.Message == "" {
		report.Message = text
	}
	return report
}
