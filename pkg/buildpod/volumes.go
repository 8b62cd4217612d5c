package buildpod

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// volume adds a volume once, whoever asks for it.
func (a *assembly) volume(v corev1.Volume) {
	for _, have := range a.pod.Spec.Volumes {
		if have.Name == v.Name {
			return
		}
	}
	a.pod.Spec.Volumes = append(a.pod.Spec.Volumes, v)
}

func (a *assembly) emptyDir(name string) {
	a.volume(corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		SizeLimit: volumeLimit(a.resources),
	}}})
}

func (b *builder) machineConfig(c *corev1.Container) {
	b.chunks(c, "machine-config", configDir, api.KeyMachineConfig, len(b.request.MachineConfig.Chunks), names.MachineConfigMap)
	arg(c, "machine-config-sha256", b.request.MachineConfig.SHA256)
}

func (b *builder) dockerfile(c *corev1.Container) {
	b.chunks(c, "dockerfile", dockerfileDir, api.KeyDockerfile, len(b.request.DockerfileChunks()), names.DockerfileMap)
	arg(c, "dockerfile-sha256", names.Content([]byte(b.request.Dockerfile)))
}

// chunks mounts a key of several ConfigMaps as files 0000, 0001, …
func (b *builder) chunks(c *corev1.Container, volume, dir, key string, count int, name func(rendered string, i int) string) {
	var sources []corev1.VolumeProjection
	for i := range count {
		sources = append(sources, corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name(b.request.RenderedConfig, i)},
			Items:                []corev1.KeyToPath{{Key: key, Path: fmt.Sprintf("%04d", i)}},
		}})
	}
	b.volume(corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: sources},
	}})
	b.directory(c, volume, dir, true)
}

func (a *assembly) secret(c *corev1.Container, volume, name, dir, flag string) {
	a.volume(corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}})
	mount(c, volume, dir, true)
	arg(c, flag, dir)
}

// keptImages mounts the claim with base images of earlier builds. Whoever runs steps only
// reads it. A try after one that failed does without: what is kept may be the reason.
func (b *builder) keptImages(prepare, build *corev1.Container) {
	const volume = "kept-images"
	claim := b.request.StorageClaim
	if claim == "" || b.request.Attempt > 1 {
		return
	}
	b.volume(corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim},
	}})
	// A new volume belongs to root. Only its own root is looked at: to give all files of
	// images to a group would spoil them.
	b.pod.Spec.SecurityContext.FSGroup = ptr(int64(builderUID))
	b.pod.Spec.SecurityContext.FSGroupChangePolicy = ptr(corev1.FSGroupChangeOnRootMismatch)
	b.directory(prepare, volume, keptImagesDir, false)
	if b.request.Timeout > 0 {
		arg(prepare, "kept-images-hold", b.request.Timeout.String())
	}
	mount(build, volume, keptImagesDir, true)
}

func (b *builder) pushSecret(c *corev1.Container) {
	if name := b.request.Credentials.Push; name != "" {
		b.secret(c, "push-secret", name, pushSecretDir, "push-secret-dir")
	}
}

func (b *builder) pullSecrets(c *corev1.Container) {
	for i, name := range b.request.Credentials.Pull {
		b.secret(c, fmt.Sprintf("pull-secret-%d", i), name, fmt.Sprintf("%s-%d", pullSecretDir, i), "pull-secret-dir")
	}
}

// directory mounts a volume and names it in the flag that ends in -dir.
func (a *assembly) directory(c *corev1.Container, volume, path string, readOnly bool) {
	mount(c, volume, path, readOnly)
	arg(c, volume+"-dir", path)
}

func mount(c *corev1.Container, volume, path string, readOnly bool) {
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: path, ReadOnly: readOnly})
}

func mountSub(c *corev1.Container, volume, path, sub string) {
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: path, SubPath: sub})
}

func arg(c *corev1.Container, flag, value string) {
	c.Args = append(c.Args, "--"+flag+"="+value)
}

func ptr[T any](v T) *T { return &v }
