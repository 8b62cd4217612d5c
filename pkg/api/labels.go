package api

// DefaultNamespace is where build objects live unless --namespace says otherwise.
const DefaultNamespace = "openshift-machine-config-operator"

const (
	prefix    = "machineconfiguration.openshift.io/"
	ownPrefix = "machineosbuilder.io/"
)

// LabelLayeringEnabled opts a MachineConfigPool in. Only its presence counts.
const LabelLayeringEnabled = prefix + "layering-enabled"

// Labels and the annotation of every object of a build.
const (
	// LabelBuildPod marks a build object; its value is empty.
	LabelBuildPod = prefix + "buildPod"
	// LabelTargetPool holds the pool's name, shortened where a label value has no room for it.
	LabelTargetPool = prefix + "targetMachineConfigPool"
	// LabelDesiredConfig holds the rendered config's name, shortened as above.
	LabelDesiredConfig = prefix + "desiredConfig"
	// LabelRole tells the objects of one build apart; see the Role constants.
	LabelRole = ownPrefix + "role"
	// AnnotationBuildObject marks a build object; its value is empty.
	AnnotationBuildObject = prefix + "pool"
)

// Values of LabelRole.
const (
	RoleRun    = "run"    // the pod or Build that builds
	RoleInput  = "input"  // a ConfigMap that the run reads
	RoleRecord = "record" // the build record
)

// Annotations of build objects that say in full what they were made for.
const (
	AnnotationPool           = ownPrefix + "pool"
	AnnotationPoolUID        = ownPrefix + "pool-uid"
	AnnotationRenderedConfig = ownPrefix + "rendered-config"
	AnnotationInputsHash     = ownPrefix + "inputs-hash"
	AnnotationAttempt        = ownPrefix + "attempt"
	// AnnotationChanges says what differed from the last build, as shown to users.
	AnnotationChanges = ownPrefix + "changes"
	// AnnotationRebuildToken is the rebuild request that a build answers.
	AnnotationRebuildToken = ownPrefix + "rebuild-token"
	// AnnotationArchitecture is the architecture that a run's pod builds for, where
	// there is a pod for each; AnnotationArchitectures are all of them.
	AnnotationArchitecture  = ownPrefix + "architecture"
	AnnotationArchitectures = ownPrefix + "architectures"
	// AnnotationRun is what the pods of one run have in common, and no other. On the
	// Dockerfile of what a Build builds it is that Build's UID.
	AnnotationRun = ownPrefix + "run"
	// AnnotationBuilder is one of the Builder values where that is not BuilderCustomPod.
	AnnotationBuilder = ownPrefix + "builder"
)

// Annotations of a pool.
const (
	// AnnotationNewestImage is the result: repository@sha256:digest.
	AnnotationNewestImage = prefix + "newestImageEquivalentConfig"
	// AnnotationImageConfig is the rendered config that the result was built from.
	AnnotationImageConfig = ownPrefix + "imageConfig"
	// AnnotationRebuild is set by a user: a new value asks for one rebuild.
	AnnotationRebuild = ownPrefix + "rebuild"
)

// Annotations of a node, written by the agent that updates it.
const (
	// AnnotationCurrentImage is the image that the node runs.
	AnnotationCurrentImage = prefix + "currentImage"
	// AnnotationDesiredImage is the image that the node is to run.
	AnnotationDesiredImage = prefix + "desiredImage"
	// AnnotationCurrentConfig is the rendered config that the node has.
	AnnotationCurrentConfig = prefix + "currentConfig"
	// AnnotationDesiredConfig is the rendered config that the node is to have.
	AnnotationDesiredConfig = prefix + "desiredConfig"
	// AnnotationState is how the node's agent stands; see the State constants.
	AnnotationState = prefix + "state"
	// AnnotationStateReason says why the state is a bad one.
	AnnotationStateReason = prefix + "reason"
)

// Values of AnnotationState. The last two are failures.
const (
	StateDone           = "Done"
	StateWorking        = "Working"
	StateDegraded       = "Degraded"
	StateUnreconcilable = "Unreconcilable"
)

// AnnotationGeneratedBy is the version of the controller that rendered a
// MachineConfig.
const AnnotationGeneratedBy = prefix + "generated-by-controller-version"

// Labels of the pushed image.
const (
	ImageLabelMachineConfig     = "machineconfig"
	ImageLabelMachineConfigPool = "machineconfigpool"
	ImageLabelReleaseVersion    = "releaseversion"
	ImageLabelBaseImage         = "baseOSContainerImage"
	ImageLabelExtensionsImage   = "extensionsOSContainerImage"
	ImageLabelInputsHash        = ownPrefix + "inputs-hash"
)

// AnnotationStepsImage of an image is the digest of what the steps of its custom
// Dockerfile left, where that is kept.
const AnnotationStepsImage = ownPrefix + "steps-image"
