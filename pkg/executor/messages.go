package executor

import "github.com/machine-os-builder/machine-os-builder/pkg/api"

// What OpenShift says of a Build, word for word: its clients and its users' scripts
// know these texts. Some go on after them.
const (
	messageCannotCreatePodSpec     = "Failed to create pod spec: "
	messageCannotCreatePod         = "Failed creating build pod: "
	messageInvalidOutputReference  = "Output image could not be resolved."
	messageInvalidImageReference   = "Referenced image could not be resolved."
	messageMissingResources        = "These resources do not exist:"
	messageNoServiceAccount        = "Unable to look up the service account secrets for this build."
	messageUnresolvableEnvironment = "Unable to resolve build environment variable reference., "
	messageMissingPushSecret       = "Missing push secret."
	messageBuildPodDeleted         = "The pod for this build was deleted before the build completed."
	messageBuildPodExists          = "The pod for this build already exists and is older than the build."
	messageNoBuildContainerStatus  = "The pod for this build has no container statuses indicating success or failure."
	messageFailedContainer         = "The pod for this build has at least one container with a non-zero exit status."
	messageOutOfMemoryKilled       = "The build pod was killed due to an out of memory condition."
	messageCancelledBuild          = "The build was cancelled by the user."
	messageGenericBuildFailed      = "Generic Build failure - check logs for details."
)

// What it does not say.
const (
	messageDeadline = api.MessageDeadlineExceeded + "%d."
	// messageNoDigest is of a Build that is complete, so its image is in the registry.
	messageNoDigest = "The image was pushed, but its digest is not known."
)
