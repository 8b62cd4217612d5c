package buildspec

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

// Request describes one image build in full, for any back-end.
type Request struct {
	// ID is the inputs hash: two requests with the same ID make the same image.
	ID string
	// Attempt counts the tries of this ID, from 1.
	Attempt int
	Pool    Pool
	// RenderedConfig is the name of the rendered MachineConfig.
	RenderedConfig string
	// Builder is the back-end to build with, one of the api.Builder values.
	Builder string
	// Object names the run as users would give it to kubectl: pod/build-…, or
	// several, separated by commas.
	Object        string
	MachineConfig Payload
	// Dockerfile is the rendered Dockerfile: complete, with the custom text in it.
	Dockerfile string
	// CustomContent is true when something has to run: steps of the user's, or one that
	// installs what the MachineConfig asks for.
	CustomContent bool
	// ConfigLayerLast is true when the config layer is put on what the steps leave,
	// which needs no step to run when that is known.
	ConfigLayerLast bool
	// BaseImage is the pullspec as configured.
	BaseImage string
	// FinalImage is repository:tag, where the result is pushed to.
	FinalImage string
	// ImageLabels are the labels of the pushed image.
	ImageLabels map[string]string
	Credentials Credentials
	Network     Network
	// BuilderImage is the pullspec of the image with os-image-builder in it.
	BuilderImage string
	// LayerCompression is one of the api.Compression values, that of new layers;
	// empty for gzip.
	LayerCompression string
	// BuildCache identifies what is kept of this pool's steps (names.BuildCacheID);
	// empty for none.
	BuildCache string
	// StorageClaim is the PersistentVolumeClaim that base images are kept on; empty for
	// none, and where nothing runs.
	StorageClaim string
	// Architectures are those that steps run for, one pod each, sorted; none for
	// that of whatever node one pod gets, and where nothing runs.
	Architectures []string
	// Timeout bounds the run; zero means no bound.
	Timeout    time.Duration
	Scheduling Scheduling
	// RebuildToken is the rebuild request that this build answers, if any.
	RebuildToken string
	// Changes says what differs from the pool's last build, for people.
	Changes []string
}

// Pool identifies a MachineConfigPool.
type Pool struct {
	Name string
	UID  types.UID
}

// Credentials names the Secrets of a build, each possibly empty.
type Credentials struct {
	Push string
	Pull []string
}

// Network is how registries are reached. It is no input: another way leads to
// the same image.
type Network struct {
	// Registries is a containers-registries.conf(5); empty without mirrors.
	Registries string
	// Proxy is what the pod goes through, unless ProxySecret names the Secret that
	// says so.
	Proxy       proxy.Config
	ProxySecret string
}

// StepFilesDir has, in the container that runs steps, a directory for each of
// StepFiles that exists. There is no flag for it: a builder image of an earlier
// version would refuse one.
const StepFilesDir = "/run/os-image-builder/steps"

// StepFiles are what the steps of a custom Dockerfile are given on purpose, by the
// name of the directory in StepFilesDir: where they see it.
var StepFiles = map[string]string{
	"entitlement": "/etc/pki/entitlement",
	"rpm-gpg":     "/etc/pki/rpm-gpg",
	"yum-repos":   "/etc/yum.repos.d",
	"user-ca":     "/run/user-ca-bundle",
}

// Scheduling says what a build pod asks of the cluster.
type Scheduling struct {
	Resources         corev1.ResourceRequirements
	NodeSelector      map[string]string
	Tolerations       []corev1.Toleration
	PriorityClassName string
	// ArchitectureSelectors are the labels of the nodes of an architecture; where
	// there are none, the kubelet's own.
	ArchitectureSelectors map[string]map[string]string
}

// Objects names the objects of a run as users would give them to kubectl.
func Objects(kind string, objects []string) string {
	return kind + "/" + strings.Join(objects, ", "+kind+"/")
}

// DockerfileChunks is the rendered Dockerfile in parts that fit a ConfigMap each;
// joined they are the Dockerfile.
func (r Request) DockerfileChunks() []string { return cut(r.Dockerfile) }
