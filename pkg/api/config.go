package api

// Names of the ConfigMaps that users and the cluster write.
const (
	ConfigMapBuildConfig      = "on-cluster-build-config"
	ConfigMapOSImageURL       = "machine-config-osimageurl"
	ConfigMapCustomDockerfile = "on-cluster-build-custom-dockerfile"
	// ConfigMapServiceCA is made by OpenShift in every namespace; its key
	// ServiceCAKey holds the certificate authority of the internal registry.
	ConfigMapServiceCA = "openshift-service-ca.crt"
	ServiceCAKey       = "service-ca.crt"
)

// Keys of ConfigMapBuildConfig.
const (
	KeyFinalImagePullspec       = "finalImagePullspec"
	KeyFinalImagePushSecretName = "finalImagePushSecretName"
	KeyBaseImagePullSecretName  = "baseImagePullSecretName"
	KeyFinalImagePullSecretName = "finalImagePullSecretName"
	KeyFinalImagePullSecret     = "finalImagePullSecret"
	KeyImageBuilderType         = "imageBuilderType"
	KeyBuilderImagePullspec     = "builderImagePullspec"
	KeyMaxConcurrentBuilds      = "maxConcurrentBuilds"
	KeyBuildTimeout             = "buildTimeout"
	KeyMaxBuildRetries          = "maxBuildRetries"
	KeyImagesToKeep             = "imagesToKeep"
	KeyBaseImagePollInterval    = "baseImagePollInterval"
	KeyBuildPodResources        = "buildPodResources"
	KeyBuildPodNodeSelector     = "buildPodNodeSelector"
	KeyBuildPodTolerations      = "buildPodTolerations"
	KeyBuildPodPriorityClass    = "buildPodPriorityClassName"
)

// Keys of ConfigMapOSImageURL.
const (
	KeyBaseOSContainerImage           = "baseOSContainerImage"
	KeyBaseOSExtensionsContainerImage = "baseOSExtensionsContainerImage"
	KeyOSImageURL                     = "osImageURL"
	KeyReleaseVersion                 = "releaseVersion"
)

// Values of KeyImageBuilderType.
const (
	BuilderCustomPod = "custom-pod-builder"
	BuilderOpenShift = "openshift-image-builder"
)

// Keys of the ConfigMaps that a build is made of.
const (
	KeyMachineConfig = "machineconfig.json.gz"
	KeyDockerfile    = "Dockerfile"
	// KeyRecord holds the build record as JSON, in the record's ConfigMap.
	KeyRecord = "record.json"
	// KeyLog holds the end of what the last run printed, in the same ConfigMap.
	KeyLog = "log"
)

// Names of the containers of a build pod.
const (
	ContainerPrepare = "prepare"
	ContainerBuild   = "image-build"
	ContainerPush    = "push"
)
