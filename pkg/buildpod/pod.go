package buildpod

import (
	"maps"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// New returns the pod of a request, without metadata but for the annotations
// that its containers need.
func New(r buildspec.Request) *corev1.Pod { return newPod(r, part{}) }

// NewFor returns that of one of a request's architectures. run is what all pods
// of this run have in common, and no other.
func NewFor(r buildspec.Request, architecture, run string) *corev1.Pod {
	return newPod(r, part{architecture: architecture, run: run})
}

// part is what a pod is told that builds for one of several architectures; zero
// for a pod that builds alone.
type part struct{ architecture, run string }

func newPod(r buildspec.Request, p part) *corev1.Pod {
	pod := skeleton(api.ContainerBuild)
	pod.Spec.NodeSelector = nodeSelector(r, p.architecture)
	pod.Spec.Tolerations = r.Scheduling.Tolerations
	pod.Spec.PriorityClassName = r.Scheduling.PriorityClassName
	if r.Timeout > 0 {
		pod.Spec.ActiveDeadlineSeconds = ptr(int64(r.Timeout.Seconds()))
	}
	b := builder{assembly: assembly{pod: pod, resources: r.Scheduling.Resources}, request: r, part: p}
	if r.CustomContent {
		b.threeSteps()
	} else {
		b.oneStep()
	}
	return pod
}

type builder struct {
	assembly
	request buildspec.Request
	part    part
}

func (b *builder) oneStep() {
	b.pod.Spec.SecurityContext.SeccompProfile = runtimeDefault()
	b.emptyDir("tmp")
	c := b.container(api.ContainerBuild, "append", restricted())
	b.machineConfig(c)
	arg(c, "base-image", b.request.BaseImage)
	b.finalImage(c)
	b.pullSecrets(c)
	b.pushSecret(c)
	b.ca(c)
	b.mirrors(c)
	b.proxy(c)
	b.labels(c)
	b.compression(c)
	mount(c, "tmp", tmpDir, false)
	b.pod.Spec.Containers = []corev1.Container{*c}
}

func (b *builder) threeSteps() {
	for _, name := range []string{"tmp", "work", "storage", "handover"} {
		b.emptyDir(name)
	}
	prepare := b.container(api.ContainerPrepare, "prepare", baseline())
	b.machineConfig(prepare)
	arg(prepare, "base-image", b.request.BaseImage)
	b.dockerfile(prepare)
	b.finalImage(prepare)
	b.pullSecrets(prepare)
	b.pushSecret(prepare)
	b.ca(prepare)
	b.mirrors(prepare)
	b.proxy(prepare)
	// An older builder image, which a setting may name, knows no flag of what is off.
	if b.request.BuildCache != "" {
		arg(prepare, "build-cache", b.request.BuildCache)
	}
	if (b.request.ConfigLayerLast || b.request.BuildCache != "") && b.request.RebuildToken != "" {
		arg(prepare, "rebuild-token", names.Content([]byte(b.request.RebuildToken)))
	}
	b.architecture(prepare)
	b.directory(prepare, "work", workDir, false)
	b.directory(prepare, "storage", storageDir, false)

	build := b.container(api.ContainerBuild, "build", baseline())
	// Entering a step's root detaches the old one, which the kernel refuses in a
	// user namespace when that is a read-only mount.
	build.SecurityContext.ReadOnlyRootFilesystem = ptr(false)
	b.directory(build, "work", workDir, true)
	b.directory(build, "storage", storageDir, false)
	b.directory(build, "handover", handoverDir, false)
	b.proxy(build)
	b.stepFiles(build)
	b.keptImages(prepare, build)
	b.compression(build)
	for _, c := range []*corev1.Container{prepare, build} {
		// Each has a /tmp of its own, so that nothing of prepare's is left for the steps of the user's.
		mountSub(c, "tmp", tmpDir, c.Name)
	}

	// push runs nothing but the builder, on files that it only reads.
	push := b.container(api.ContainerPush, "push", restrictedByDefault())
	// prepare has brought the base's layers to where push needs them, so that
	// push can do without the credentials to pull.
	b.finalImage(push)
	b.pushSecret(push)
	b.ca(push)
	b.proxy(push)
	b.labels(push)
	if b.request.ConfigLayerLast {
		b.machineConfig(push)
		b.compression(push)
	}
	b.architecture(push)
	b.index(push)
	b.directory(push, "work", workDir, true)
	b.directory(push, "handover", handoverDir, true)
	arg(push, "max-bytes", strconv.FormatInt(volumeLimit(b.request.Scheduling.Resources).Value(), 10))

	b.pod.Spec.InitContainers = []corev1.Container{*prepare, *build}
	b.pod.Spec.Containers = []corev1.Container{*push}
}

func (b *builder) container(name, command string, security *corev1.SecurityContext) *corev1.Container {
	return b.assembly.container(name, b.request.BuilderImage, command, security)
}

// nodeSelector is the user's, and for an architecture its own besides: a label
// that both name is the architecture's.
func nodeSelector(r buildspec.Request, architecture string) map[string]string {
	selector := map[string]string{corev1.LabelOSStable: "linux"}
	maps.Copy(selector, r.Scheduling.NodeSelector)
	if architecture == "" {
		return selector
	}
	own, found := r.Scheduling.ArchitectureSelectors[architecture]
	if !found {
		own = map[string]string{corev1.LabelArchStable: architecture}
	}
	maps.Copy(selector, own)
	return selector
}

// architecture tells a container what to build for, where that is not what its
// node is.
func (b *builder) architecture(c *corev1.Container) {
	if b.part.architecture != "" {
		arg(c, "architecture", b.part.architecture)
	}
}

// index tells a container what makes an index of the pods' images.
func (b *builder) index(c *corev1.Container) {
	if b.part.architecture != "" {
		arg(c, "architectures", strings.Join(b.request.Architectures, ","))
		arg(c, "run", b.part.run)
	}
}

func (b *builder) labels(c *corev1.Container) {
	keys := make([]string, 0, len(b.request.ImageLabels))
	for k := range b.request.ImageLabels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		arg(c, "label", k+"="+b.request.ImageLabels[k])
	}
}

// compression names what is not the builder's default: an older builder image,
// which a setting may name, knows no such flag.
func (b *builder) compression(c *corev1.Container) {
	if name := b.request.LayerCompression; name != "" && name != api.CompressionGzip {
		arg(c, "layer-compression", name)
	}
}

func (b *builder) finalImage(c *corev1.Container) { arg(c, "final-image", b.request.FinalImage) }
