package api

import mcfgv1 "github.com/openshift/api/machineconfiguration/v1"

// OwnedConditions are the condition types of a pool that the build loop
// writes. It never touches a condition of another type, nor an ImageBuildDegraded that
// somebody else wrote.
var OwnedConditions = []mcfgv1.MachineConfigPoolConditionType{
	mcfgv1.MachineConfigPoolBuildPending,
	mcfgv1.MachineConfigPoolBuilding,
	mcfgv1.MachineConfigPoolBuildSuccess,
	mcfgv1.MachineConfigPoolBuildFailed,
	mcfgv1.MachineConfigPoolBuildInterrupted,
	mcfgv1.MachineConfigPoolImageBuildDegraded,
}

// Reasons of BuildPending.
const (
	ReasonBuildPending     = "BuildPending"
	ReasonWaitingForSlot   = "WaitingForSlot"
	ReasonWaitingForRender = "WaitingForRender"
	ReasonWaitingForRetry  = "WaitingForRetry"
	// ReasonWaitingForCleanup: the objects of an earlier build still terminate.
	ReasonWaitingForCleanup = "WaitingForCleanup"
	// ReasonWaitingForRegistry: the registry does not answer.
	ReasonWaitingForRegistry = "WaitingForRegistry"
)

// Reasons of Building.
const (
	ReasonBuildPreparing = "BuildPreparing"
	ReasonBuildRunning   = "BuildRunning"
)

// Reasons of BuildSuccess.
const (
	ReasonBuildSucceeded = "BuildSucceeded"
	ReasonImageReused    = "ImageReused"
)

// Reasons of BuildFailed and ImageBuildDegraded.
const (
	ReasonBuildFailed   = "BuildFailed"
	ReasonBuildTimedOut = "BuildTimedOut"
	ReasonOutOfMemory   = "OutOfMemory"
	// ReasonOutOfStorage: the build wrote more to its node than its limit allows.
	ReasonOutOfStorage          = "OutOfStorage"
	ReasonPullFailed            = "PullFailed"
	ReasonPushFailed            = "PushFailed"
	ReasonInvalidConfig         = "InvalidConfig"
	ReasonInvalidDockerfile     = "InvalidDockerfile"
	ReasonInvalidRenderedConfig = "InvalidRenderedConfig"
	// ReasonExtensionsFailed: packages that the MachineConfig asks for cannot be installed.
	ReasonExtensionsFailed  = "ExtensionsFailed"
	ReasonUnconfirmedDigest = "UnconfirmedDigest"
	// ReasonBuildCancelled: somebody cancelled the pool's Build.
	ReasonBuildCancelled = "BuildCancelled"
	// ReasonCannotStart: the API server refuses the build's objects.
	ReasonCannotStart = "CannotStartBuild"
)

// ReasonBuildInterrupted is the reason of BuildInterrupted, and that of a
// record of a run that ended through no fault of its content.
const ReasonBuildInterrupted = "BuildInterrupted"

// ReasonNotInterrupted is the reason of BuildInterrupted while it is False.
const ReasonNotInterrupted = "NotInterrupted"

// Reasons of RenderDegraded.
const (
	// ReasonRendered, while False: the pool's rendered config is that of its MachineConfigs.
	ReasonRendered = "Rendered"
	// ReasonInvalidSelector: spec.machineConfigSelector is missing, empty or no selector.
	ReasonInvalidSelector  = "InvalidSelector"
	ReasonNoMachineConfigs = "NoMachineConfigs"
	// ReasonInvalidMachineConfig: a MachineConfig cannot be read, or asks for what there is not.
	ReasonInvalidMachineConfig = "InvalidMachineConfig"
	// ReasonConflictingMachineConfigs: they are valid, but not together.
	ReasonConflictingMachineConfigs = "ConflictingMachineConfigs"
	// ReasonRenderedConfigTaken: a MachineConfig of the rendered one's name is another's.
	ReasonRenderedConfigTaken = "RenderedConfigTaken"
	// ReasonCannotCreateRenderedConfig: the API server refuses the rendered config.
	ReasonCannotCreateRenderedConfig = "CannotCreateRenderedConfig"
	// ReasonRequestRefused: the API server refuses another request that rendering needs.
	ReasonRequestRefused = "RequestRefused"
	// ReasonCannotConvertMachineConfig: the converter of Ignition spec 2 failed, which
	// says nothing of the config; it is tried again.
	ReasonCannotConvertMachineConfig = "CannotConvertMachineConfig"
)

// RenderReasons are those of RenderDegraded that the render loop writes.
var RenderReasons = []string{
	ReasonRendered, ReasonInvalidSelector, ReasonNoMachineConfigs, ReasonInvalidMachineConfig,
	ReasonConflictingMachineConfigs, ReasonRenderedConfigTaken, ReasonCannotCreateRenderedConfig,
	ReasonRequestRefused, ReasonCannotConvertMachineConfig,
}

// Reasons of Updated, Updating, NodeDegraded and Degraded.
const (
	ReasonMachinesUpdated  = "MachinesUpdated"
	ReasonMachinesUpdating = "MachinesUpdating"
	ReasonPoolPaused       = "PoolPaused"
	// ReasonWaitingForImage: the image of the pool's config is not built yet.
	ReasonWaitingForImage  = "WaitingForImage"
	ReasonMachinesDegraded = "MachinesDegraded"
	// ReasonMachinesUnassigned: nobody can say to which pool a node belongs.
	ReasonMachinesUnassigned = "MachinesUnassigned"
	ReasonNotDegraded        = "NotDegraded"
)

// Reasons of events on a pool, each emitted once per transition.
const (
	EventBuildStarted     = "BuildStarted"
	EventBuildPreparing   = "BuildPreparing"
	EventBuildBuilding    = "BuildBuilding"
	EventBuildCompleted   = "BuildCompleted"
	EventBuildFailed      = "BuildFailed"
	EventBuildInterrupted = "BuildInterrupted"
	EventBuildDeleted     = "BuildDeleted"
	EventRebuildRequested = "RebuildRequested"
	EventUnknownKey       = "UnknownKey"
	EventUnusedKey        = "UnusedKey"
	EventNotInImage       = "NotInImage"
	// EventRendered: a rendered config was created.
	EventRendered      = "RenderedConfigGenerated"
	EventRenderWarning = "RenderWarning"
	EventRenderFailed  = "RenderDegraded"
	// EventDeletionForbidden: the registry does not let old images be deleted.
	EventDeletionForbidden = "ImageDeletionForbidden"
)
