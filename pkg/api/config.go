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
	// ConfigMapUserCA holds more certificate authorities; OpenShift's network
	// operator fills in the same key where a label asks for it.
	ConfigMapUserCA = "user-ca-bundle"
	UserCAKey       = "ca-bundle.crt"
	// ConfigMapRegistries holds a containers-registries.conf(5).
	ConfigMapRegistries = "registries-conf"
	KeyRegistriesConf   = "registries.conf"
)

// Names of what the steps of a custom Dockerfile are given, where it exists.
const (
	SecretEntitlement = "etc-pki-entitlement"
	ConfigMapYumRepos = "etc-yum-repos-d"
	SecretRPMKeys     = "etc-pki-rpm-gpg"
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
	KeyLayerCompression         = "layerCompression"
	KeyConfigLayerOrder         = "configLayerOrder"
	KeyBuildCache               = "buildCache"
	KeyBuildStoragePVC          = "buildStoragePVC"
	KeyProxySecretName          = "proxySecretName"
	KeyArchitectures            = "architectures"
	KeyArchitectureSelectors    = "architectureNodeSelectors"
)

// Keys of ConfigMapBuildConfig and of the Secret that KeyProxySecretName names.
const (
	KeyHTTPProxy  = "httpProxy"
	KeyHTTPSProxy = "httpsProxy"
	KeyNoProxy    = "noProxy"
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

// Values of KeyLayerCompression.
const (
	CompressionGzip = "gzip"
	CompressionZstd = "zstd"
)

// Values of KeyConfigLayerOrder.
const (
	ConfigLayerFirst = "first"
	ConfigLayerLast  = "last"
)

// Values of KeyBuildCache.
const (
	BuildCacheNone     = "none"
	BuildCacheRegistry = "registry"
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
