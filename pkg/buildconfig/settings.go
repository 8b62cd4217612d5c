package buildconfig

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Defaults of the optional keys.
const (
	DefaultMaxConcurrentBuilds = 2
	defaultBuildTimeout        = time.Hour
	defaultMaxBuildRetries     = 3
	defaultImagesToKeep        = 3
)

// Settings is what the cluster-wide ConfigMaps say, checked.
type Settings struct {
	// Repository is finalImagePullspec without tag and digest.
	Repository string
	// Secrets are the ones that keys name, the push Secret first when there is one.
	Secrets []SecretRef
	// BuilderType is one of the api.Builder values, or empty for "by what the cluster serves".
	BuilderType string
	// BuilderImage overrides the product's own builder image when set.
	BuilderImage        string
	MaxConcurrentBuilds int
	BuildTimeout        time.Duration
	MaxBuildRetries     int
	ImagesToKeep        int
	// BaseImagePollInterval is how often the base's tag is looked at; 0 for never.
	BaseImagePollInterval time.Duration
	Scheduling            buildspec.Scheduling
	Proxy                 Proxy
	// LayerCompression is one of the api.Compression values.
	LayerCompression string
	// ConfigLayerOrder is one of the api.ConfigLayer values.
	ConfigLayerOrder string
	// BuildCache is one of the api.BuildCache values.
	BuildCache string
	// StorageClaim is the PersistentVolumeClaim that base images are kept on; empty for none.
	StorageClaim string
	// Architectures are those that steps are run for, sorted; none for that of
	// whatever node.
	Architectures []string

	// BaseImage and ExtensionsImage are the cluster's; a rendered config may name others.
	BaseImage       string
	ExtensionsImage string
	ReleaseVersion  string

	// UnknownKeys of on-cluster-build-config, sorted: reported, otherwise ignored.
	UnknownKeys []string
}

// Read checks the two cluster-wide ConfigMaps; nil stands for one that does
// not exist. The settings are meaningful only when there are no problems.
func Read(buildConfig, osImageURL *corev1.ConfigMap) (Settings, Problems) {
	r := reader{object: "ConfigMap/" + api.ConfigMapBuildConfig}
	s := Settings{
		MaxConcurrentBuilds: DefaultMaxConcurrentBuilds,
		BuildTimeout:        defaultBuildTimeout,
		MaxBuildRetries:     defaultMaxBuildRetries,
		ImagesToKeep:        defaultImagesToKeep,
		LayerCompression:    api.CompressionGzip,
		ConfigLayerOrder:    api.ConfigLayerFirst,
		BuildCache:          api.BuildCacheNone,
	}
	if buildConfig == nil {
		r.problems.add(r.object, "", "does not exist; create it with at least the key "+api.KeyFinalImagePullspec)
	} else {
		r.data = buildConfig.Data
		r.readBuildConfig(&s)
	}
	r.object = "ConfigMap/" + api.ConfigMapOSImageURL
	if osImageURL != nil {
		r.data = osImageURL.Data
		s.BaseImage = r.pullspec(api.KeyBaseOSContainerImage)
		s.ExtensionsImage = r.pullspec(api.KeyBaseOSExtensionsContainerImage)
		s.ReleaseVersion = r.data[api.KeyReleaseVersion]
	}
	return s, r.problems
}

// registrySecretKeys name Secrets with credentials of registries.
var registrySecretKeys = []string{
	api.KeyFinalImagePushSecretName, api.KeyBaseImagePullSecretName,
	api.KeyFinalImagePullSecretName, api.KeyFinalImagePullSecret,
}

func (r *reader) readBuildConfig(s *Settings) {
	s.Repository = r.repository(api.KeyFinalImagePullspec)
	for _, key := range registrySecretKeys {
		if name := r.objectName(key); name != "" {
			s.Secrets = append(s.Secrets, SecretRef{Key: key, Name: name})
		}
	}
	s.BuilderType = r.oneOf(api.KeyImageBuilderType, api.BuilderCustomPod, api.BuilderOpenShift)
	s.BuilderImage = r.pullspec(api.KeyBuilderImagePullspec)
	s.MaxConcurrentBuilds = r.integer(api.KeyMaxConcurrentBuilds, DefaultMaxConcurrentBuilds, 1)
	s.BuildTimeout = r.duration(api.KeyBuildTimeout, defaultBuildTimeout)
	s.BaseImagePollInterval = r.duration(api.KeyBaseImagePollInterval, 0)
	s.MaxBuildRetries = r.integer(api.KeyMaxBuildRetries, defaultMaxBuildRetries, 0)
	s.ImagesToKeep = r.integer(api.KeyImagesToKeep, defaultImagesToKeep, 1)
	if c := r.oneOf(api.KeyLayerCompression, api.CompressionGzip, api.CompressionZstd); c != "" {
		s.LayerCompression = c
	}
	if o := r.oneOf(api.KeyConfigLayerOrder, api.ConfigLayerFirst, api.ConfigLayerLast); o != "" {
		s.ConfigLayerOrder = o
	}
	if c := r.oneOf(api.KeyBuildCache, api.BuildCacheNone, api.BuildCacheRegistry); c != "" {
		s.BuildCache = c
	}
	s.StorageClaim = r.objectName(api.KeyBuildStoragePVC)
	s.Architectures = r.architectureList(api.KeyArchitectures)
	if len(s.Architectures) > 0 && s.ConfigLayerOrder == api.ConfigLayerLast {
		r.fail(api.KeyConfigLayerOrder, "is %q beside %s, which do not go together in this version; leave one of them out", api.ConfigLayerLast, api.KeyArchitectures)
	}
	s.Scheduling.ArchitectureSelectors = r.architectureSelectors()
	r.yaml(api.KeyBuildPodResources, &s.Scheduling.Resources)
	r.yaml(api.KeyBuildPodNodeSelector, &s.Scheduling.NodeSelector)
	r.yaml(api.KeyBuildPodTolerations, &s.Scheduling.Tolerations)
	s.Scheduling.PriorityClassName = r.objectName(api.KeyBuildPodPriorityClass)
	s.Proxy = r.proxy()
	s.UnknownKeys = r.unknown()
}
