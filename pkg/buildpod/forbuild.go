package buildpod

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/executor"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// BuildOptions are what the pod of a Build is made of besides the Build.
type BuildOptions struct {
	// BuilderImage runs the containers; GitImage, which has git and ssh too, the one
	// that fetches the source.
	BuilderImage, GitImage string
	// ProxySecret names a Secret that may be in the Build's namespace, with the keys
	// of a proxy's settings; "" for none.
	ProxySecret string
	// AllowedUIDs are whom source-to-image may run assemble as, as package s2i writes
	// them; "" for everybody.
	AllowedUIDs string
	// Mirrors says that the namespace has a ConfigMap with a registries.conf.
	Mirrors bool
}

// maxBuild is the longest Build that fits into an environment variable (Linux,
// MAX_ARG_STRLEN, with the name, an equals sign and a zero).
const maxBuild = 128<<10 - len(api.EnvBuild) - 2

// ForBuild returns the pod of a Build of build.openshift.io/v1 that is valid and whose
// environment has values only. Name, labels and annotations are those that OpenShift's
// build controller gives it. The error says why a pod cannot hold this Build.
func ForBuild(b *buildv1.Build, o BuildOptions) (*corev1.Pod, error) {
	text, err := encode(b)
	if err != nil {
		return nil, err
	}
	if len(text) > maxBuild {
		return nil, fmt.Errorf("as JSON the Build has %d bytes, and a pod takes %d; shorten source.dockerfile, or put it into a ConfigMap of source.configMaps", len(text), maxBuild)
	}
	texts, err := textsFor(b)
	if err != nil {
		return nil, err
	}
	step := api.ContainerDockerBuild
	if b.Spec.Strategy.SourceStrategy != nil {
		step = api.ContainerSourceBuild
	}
	pod := skeleton(step)
	pod.Namespace, pod.Name = b.Namespace, names.BuildPod(b.Name)
	pod.Labels = map[string]string{buildv1.BuildLabel: names.BuildLabel(b.Name)}
	pod.Annotations[buildv1.BuildAnnotation] = b.Name
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: buildv1.GroupVersion.String(), Kind: "Build", Name: b.Name, UID: b.UID, Controller: ptr(true), BlockOwnerDeletion: ptr(true),
	}}
	pod.Spec.ServiceAccountName = b.Spec.ServiceAccount
	pod.Spec.ActiveDeadlineSeconds = ptr(executor.Deadline(b))
	pod.Spec.NodeSelector = map[string]string{}
	maps.Copy(pod.Spec.NodeSelector, b.Spec.NodeSelector)
	pod.Spec.NodeSelector[corev1.LabelOSStable] = "linux"
	p := buildPod{assembly{pod, b.Spec.Resources}, b, o, texts}
	p.containers(step)
	return pod, nil
}

// textsFor are the Build as its containers read it: each has the logins that it uses.
// The one without a name is for those that fetch nothing.
func textsFor(b *buildv1.Build) (map[string]string, error) {
	texts := map[string]string{}
	for name, seen := range map[string]*buildv1.Build{
		api.ContainerGitClone:         withoutScriptsLogin(b),
		api.ContainerManageDockerfile: withoutSourceLogin(b),
		"":                            withoutScriptsLogin(withoutSourceLogin(b)),
	} {
		text, err := encode(seen)
		if err != nil {
			return nil, err
		}
		texts[name] = text
	}
	return texts, nil
}

// withoutScriptsLogin is a Build as those see it who do not download its scripts. A
// query may be what lets one in.
func withoutScriptsLogin(b *buildv1.Build) *buildv1.Build {
	if strategy := b.Spec.Strategy.SourceStrategy; strategy == nil || strategy.Scripts == "" {
		return b
	}
	bare := b.DeepCopy()
	scripts := &bare.Spec.Strategy.SourceStrategy.Scripts
	u, err := url.Parse(*scripts)
	if err != nil {
		*scripts = ""
		return bare
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = nil, "", false, "", ""
	*scripts = u.String()
	return bare
}

// withoutSourceLogin is a Build as those see it who do not fetch its source.
func withoutSourceLogin(b *buildv1.Build) *buildv1.Build {
	git := b.Spec.Source.Git
	if git == nil {
		return b
	}
	bare := b.DeepCopy()
	bare.Spec.Source.Git.ProxyConfig = buildv1.ProxyConfig{}
	if u, err := url.Parse(git.URI); err == nil && u.User != nil {
		u.User = nil
		bare.Spec.Source.Git.URI = u.String()
	}
	return bare
}

// encode writes a Build as its pod reads it.
func encode(b *buildv1.Build) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(b); err != nil {
		return "", fmt.Errorf("encoding Build %q: %w", b.Name, err)
	}
	return strings.TrimSpace(out.String()), nil
}

// buildPod is the pod of a Build that is being put together.
type buildPod struct {
	assembly
	build   *buildv1.Build
	options BuildOptions
	texts   map[string]string // the Build, as textsFor says
}

func (p *buildPod) containers(step string) {
	for _, name := range []string{"tmp", "work", "storage", "handover"} {
		p.emptyDir(name)
	}
	var init []corev1.Container
	if p.build.Spec.Source.Git != nil {
		init = append(init, *p.fetch())
	}
	p.pod.Spec.InitContainers = append(init, *p.prepare(), *p.run(step))
	p.pod.Spec.Containers = []corev1.Container{*p.push()}
}

// fetch clones the source, with the source's credential alone.
func (p *buildPod) fetch() *corev1.Container {
	c := p.container(api.ContainerGitClone, p.options.GitImage, "fetch-source", restrictedByDefault())
	p.directory(c, "work", workDir, false)
	if s := p.build.Spec.Source.SourceSecret; s != nil {
		p.secret(c, "source-secret", s.Name, sourceSecretDir, "source-secret-dir")
	}
	p.ca(c)
	p.proxy(c)
	mountSub(c, "tmp", tmpDir, c.Name)
	return c
}

// prepare has all credentials but that of the source, pulls, and runs nothing of the
// user's.
func (p *buildPod) prepare() *corev1.Container {
	c := p.container(api.ContainerManageDockerfile, p.options.BuilderImage, "prepare-build", baseline())
	p.directory(c, "work", workDir, false)
	p.directory(c, "storage", storageDir, false)
	if s := p.pullSecret(); s != nil {
		p.secret(c, "pull-secret", s.Name, pullSecretDir, "pull-secret-dir")
	}
	p.pushSecret(c)
	for i, image := range p.build.Spec.Source.Images {
		if image.PullSecret != nil {
			volume, dir := fmt.Sprintf("image-secret-%d", i), fmt.Sprintf("%s-%d", imageSecretDir, i)
			p.volume(corev1.Volume{Name: volume, VolumeSource: secretSource(image.PullSecret.Name)})
			mount(c, volume, dir, true)
			arg(c, "image-secret-dir", fmt.Sprintf("%d=%s", i, dir))
		}
	}
	p.inputs(c)
	p.ca(c)
	if p.options.Mirrors {
		p.volume(corev1.Volume{Name: "registries", VolumeSource: mapSource(api.ConfigMapRegistries)})
		mount(c, "registries", registriesDir, true)
		arg(c, "registries-conf", registriesDir+"/"+api.KeyRegistriesConf)
	}
	p.proxy(c)
	if p.options.AllowedUIDs != "" && p.build.Spec.Strategy.SourceStrategy != nil {
		arg(c, "allowed-uids", p.options.AllowedUIDs)
	}
	mountSub(c, "tmp", tmpDir, c.Name)
	return c
}

// inputs mounts each Secret and ConfigMap among the sources once, whatever the number
// of places that it is copied to.
func (p *buildPod) inputs(c *corev1.Container) {
	seen := map[string]bool{}
	add := func(flag, volume, root, name string, source corev1.VolumeSource) {
		if seen[flag+name] {
			return
		}
		seen[flag+name] = true
		volume, dir := fmt.Sprintf("%s-%d", volume, len(seen)), fmt.Sprintf("%s-%d", root, len(seen))
		p.volume(corev1.Volume{Name: volume, VolumeSource: source})
		mount(c, volume, dir, true)
		arg(c, flag, name+"="+dir)
	}
	for _, s := range p.build.Spec.Source.Secrets {
		add("secret-input", "secret-input", secretInputDir, s.Secret.Name, secretSource(s.Secret.Name))
	}
	for _, m := range p.build.Spec.Source.ConfigMaps {
		add("config-map-input", "config-map-input", mapInputDir, m.ConfigMap.Name, mapSource(m.ConfigMap.Name))
	}
}

// run runs the user's steps. It has no credential but what the user gives the steps on
// purpose: the volumes of the strategy.
func (p *buildPod) run(step string) *corev1.Container {
	c := p.container(step, p.options.BuilderImage, "run-build", baseline())
	// As in the pods of pools, buildah detaches its old root.
	c.SecurityContext.ReadOnlyRootFilesystem = ptr(false)
	p.directory(c, "work", workDir, true)
	p.directory(c, "storage", storageDir, false)
	p.directory(c, "handover", handoverDir, false)
	for i, v := range p.volumes() {
		volume, dir := fmt.Sprintf("volume-%d", i), fmt.Sprintf("%s-%d", stepVolumeDir, i)
		p.volume(corev1.Volume{Name: volume, VolumeSource: stepSource(v.Source)})
		mount(c, volume, dir, true)
		for _, m := range v.Mounts {
			arg(c, "volume", v.Name+"="+dir+":"+escapeReferences(m.DestinationPath))
		}
	}
	p.proxy(c)
	mountSub(c, "tmp", tmpDir, c.Name)
	return c
}

// push runs nothing but the builder, on files that it only reads.
func (p *buildPod) push() *corev1.Container {
	c := p.container(api.ContainerPush, p.options.BuilderImage, "push-build", restrictedByDefault())
	p.directory(c, "work", workDir, true)
	p.directory(c, "handover", handoverDir, true)
	p.pushSecret(c)
	p.ca(c)
	p.proxy(c)
	arg(c, "max-bytes", strconv.FormatInt(volumeLimit(p.resources).Value(), 10))
	return c
}

func (p *buildPod) container(name, image, command string, security *corev1.SecurityContext) *corev1.Container {
	c := p.assembly.container(name, image, command, security)
	text, found := p.texts[name]
	if !found {
		text = p.texts[""]
	}
	c.Env = []corev1.EnvVar{{Name: api.EnvBuild, Value: escapeReferences(text)}}
	return c
}

// escapeReferences keeps the kubelet from putting values for $(NAME) into a text
// (Kubernetes API, EnvVar.value and Container.args).
func escapeReferences(text string) string { return strings.ReplaceAll(text, "$", "$$") }

func (p *buildPod) pushSecret(c *corev1.Container) {
	if out := p.build.Spec.Output; out.To != nil && out.PushSecret != nil {
		p.secret(c, "push-secret", out.PushSecret.Name, pushSecretDir, "push-secret-dir")
	}
}

func (p *buildPod) pullSecret() *corev1.LocalObjectReference {
	if s := p.build.Spec.Strategy.SourceStrategy; s != nil {
		return s.PullSecret
	}
	return p.build.Spec.Strategy.DockerStrategy.PullSecret
}

func (p *buildPod) volumes() []buildv1.BuildVolume {
	if s := p.build.Spec.Strategy.SourceStrategy; s != nil {
		return s.Volumes
	}
	return p.build.Spec.Strategy.DockerStrategy.Volumes
}

func (p *buildPod) proxy(c *corev1.Container) {
	if name := p.options.ProxySecret; name != "" {
		p.proxySecret(c, name)
		arg(c, "proxy-dir", proxyDir)
	}
}

func secretSource(name string) corev1.VolumeSource {
	return corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}
}

func mapSource(name string) corev1.VolumeSource {
	return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}
}

// stepSource is a volume of the strategy, readable for a user other than root.
func stepSource(from buildv1.BuildVolumeSource) corev1.VolumeSource {
	switch {
	case from.Secret != nil:
		s := from.Secret.DeepCopy()
		s.DefaultMode, s.Items = readable(s.DefaultMode), readableItems(s.Items)
		return corev1.VolumeSource{Secret: s}
	case from.ConfigMap != nil:
		m := from.ConfigMap.DeepCopy()
		m.DefaultMode, m.Items = readable(m.DefaultMode), readableItems(m.Items)
		return corev1.VolumeSource{ConfigMap: m}
	default:
		return corev1.VolumeSource{CSI: from.CSI.DeepCopy()}
	}
}

// readable lets everybody read what a mode lets its owner read: the owner is root,
// whom nobody in the pod is.
func readable(mode *int32) *int32 {
	if mode == nil {
		return nil
	}
	return ptr(*mode | *mode>>3&0o044 | *mode>>6&0o004)
}

func readableItems(items []corev1.KeyToPath) []corev1.KeyToPath {
	for i := range items {
		items[i].Mode = readable(items[i].Mode)
	}
	return items
}
