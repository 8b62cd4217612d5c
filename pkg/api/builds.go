package api

// AnnotationCancelBuild of a Build asks for its cancellation with the value "true",
// as its status.cancelled does: that is a subresource which not every client writes.
const AnnotationCancelBuild = ownPrefix + "cancel"

// Names of the containers of a Build's pod, in the order they run; the last is
// ContainerPush. Those of OpenShift's own pods have the same names where they do
// the same.
const (
	ContainerGitClone         = "git-clone"
	ContainerManageDockerfile = "manage-dockerfile"
	ContainerDockerBuild      = "docker-build"
	ContainerSourceBuild      = "sti-build"
)

// EnvBuild is the environment variable of each container of a Build's pod that holds
// the Build as JSON.
const EnvBuild = "BUILD"

// MessageDeadlineExceeded begins the message of a Build that took longer than it may: it
// has the reason GenericBuildFailed, as OpenShift knows none for that.
const MessageDeadlineExceeded = "The build exceeded completionDeadlineSeconds="

// Reasons of events on a Build that are not those on a pool as well.
const (
	EventBuildCancelled = "BuildCancelled"
	EventFailedCreate   = "FailedCreate"
)
