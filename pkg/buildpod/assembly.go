package buildpod

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// builderUID is the user of the builder image.
const builderUID = 1000

// gracePeriodSeconds is how long a cancelled build may take to stop; it has
// nothing to save.
const gracePeriodSeconds = 2

// Paths inside the containers.
const (
	configDir     = "/run/os-image-builder/machine-config"
	dockerfileDir = "/run/os-image-builder/dockerfile"
	pushSecretDir = "/run/os-image-builder/push-secret"
	pullSecretDir = "/run/os-image-builder/pull-secret"
	caDir         = "/run/os-image-builder/ca"
	userCADir     = "/run/os-image-builder/user-ca"
	registriesDir = "/run/os-image-builder/registries"
	proxyDir      = "/run/os-image-builder/proxy"
	workDir       = "/var/lib/os-image-builder/work"
	storageDir    = "/var/lib/os-image-builder/storage"
	handoverDir   = "/var/lib/os-image-builder/handover"
	tmpDir        = "/tmp"
	// keptImagesDir is in the build's plan, too: it is the same in all containers.
	keptImagesDir = "/var/lib/os-image-builder/kept-images"

	sourceSecretDir = "/run/os-image-builder/source-secret"
	imageSecretDir  = "/run/os-image-builder/image-secret"
	secretInputDir  = "/run/os-image-builder/secret-input"
	mapInputDir     = "/run/os-image-builder/config-map-input"
	stepVolumeDir   = "/run/os-image-builder/volume"

	// messageFile is where a container leaves its result. The default is in /dev,
	// which the user's steps see: they could forge it, and fill the node's disk
	// through it.
	messageFile = "/run/os-image-builder/termination-log"
)

// assembly is a pod that is being put together.
type assembly struct {
	pod       *corev1.Pod
	resources corev1.ResourceRequirements
}

// skeleton is what all pods have in common; a client that names no container gets the
// log of the one that is given.
func skeleton(container string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Annotations: map[string]string{"kubectl.kubernetes.io/default-container": container},
		},
		Spec: corev1.PodSpec{
			AutomountServiceAccountToken:  ptr(false),
			EnableServiceLinks:            ptr(false),
			RestartPolicy:                 corev1.RestartPolicyNever,
			TerminationGracePeriodSeconds: ptr(int64(gracePeriodSeconds)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr(true),
				RunAsUser:    ptr(int64(builderUID)),
				RunAsGroup:   ptr(int64(builderUID)),
			},
		},
	}
}

func (a *assembly) container(name, image, command string, security *corev1.SecurityContext) *corev1.Container {
	c := &corev1.Container{
		Name:                     name,
		Image:                    image,
		Command:                  []string{"/usr/bin/os-image-builder", command},
		Resources:                withRequests(a.resources),
		SecurityContext:          security,
		ImagePullPolicy:          corev1.PullIfNotPresent,
		TerminationMessagePath:   messageFile,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	arg(c, "termination-message-path", messageFile)
	return c
}

func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false),
		ReadOnlyRootFilesystem:   ptr(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// restrictedByDefault is for a container whose pod says nothing of seccomp, since
// others in it need the default of none.
func restrictedByDefault() *corev1.SecurityContext {
	s := restricted()
	s.SeccompProfile = runtimeDefault()
	return s
}

func runtimeDefault() *corev1.SeccompProfile {
	return &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
}

// baseline lets newuidmap and newgidmap gain their file capabilities, which
// takes them in the bounding set; the processes themselves start with none.
func baseline() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(true),
		ReadOnlyRootFilesystem:   ptr(true),
		Capabilities: &corev1.Capabilities{
			Drop: []corev1.Capability{"ALL"},
			Add:  []corev1.Capability{"SETUID", "SETGID"},
		},
	}
}
