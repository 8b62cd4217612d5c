package buildpod

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/executor"
)

var buildOptions = BuildOptions{BuilderImage: "registry.example.com/builder:1", GitImage: "registry.example.com/builder-git:1"}

func named(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }

// dockerBuild has everything that a Docker build may have.
func dockerBuild() *buildv1.Build {
	ref := func(name string) *corev1.LocalObjectReference { r := named(name); return &r }
	file, mode, deadline := "FROM base\nRUN echo $(BUILD) <x>\n", int32(0o400), int64(60)
	b := &buildv1.Build{TypeMeta: metav1.TypeMeta{APIVersion: "build.openshift.io/v1", Kind: "Build"}, ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-1", UID: "uid-of-build"}}
	b.Spec.ServiceAccount = "builder"
	b.Spec.NodeSelector = map[string]string{"build": "yes", "kubernetes.io/os": "windows"}
	b.Spec.CompletionDeadlineSeconds = &deadline
	b.Spec.Resources = corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi"), corev1.ResourceEphemeralStorage: resource.MustParse("3Gi")}}
	b.Spec.Source = buildv1.BuildSource{
		Dockerfile: &file, Git: &buildv1.GitBuildSource{URI: "https://git.example.com/app.git"}, SourceSecret: ref("source"),
		Images:     []buildv1.ImageSource{{As: []string{"x"}}, {PullSecret: ref("image")}},
		Secrets:    []buildv1.SecretBuildSource{{Secret: named("input")}, {Secret: named("input"), DestinationDir: "again"}},
		ConfigMaps: []buildv1.ConfigMapBuildSource{{ConfigMap: named("input")}, {ConfigMap: named("other"), DestinationDir: "x"}},
	}
	b.Spec.Output = buildv1.BuildOutput{To: &corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/team/app:1"}, PushSecret: ref("push")}
	mounts := []buildv1.BuildVolumeMount{{DestinationPath: "/etc/a"}, {DestinationPath: "/etc/$(BUILD)"}}
	b.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{PullSecret: ref("pull"), Volumes: []buildv1.BuildVolume{
		{Name: "secret", Source: buildv1.BuildVolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume", DefaultMode: &mode, Items: []corev1.KeyToPath{{Key: "k", Path: "p", Mode: &mode}}}}, Mounts: mounts},
		{Name: "map", Source: buildv1.BuildVolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("volume-map")}}, Mounts: mounts[:1]},
		{Name: "csi", Source: buildv1.BuildVolumeSource{CSI: &corev1.CSIVolumeSource{Driver: "driver.example.com"}}, Mounts: mounts[:1]},
	}}
	return b
}

func sourceBuild() *buildv1.Build {
	b := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "app-2", UID: "uid-of-build"}}
	b.Spec.Source.Git = &buildv1.GitBuildSource{URI: "https://git.example.com/app.git"}
	b.Spec.Strategy.SourceStrategy = &buildv1.SourceBuildStrategy{From: corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/s2i:1"}}
	return b
}

func podOf(t *testing.T, b *buildv1.Build, o BuildOptions) *corev1.Pod {
	t.Helper()
	pod, err := ForBuild(b, o)
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestGoldenForBuild(t *testing.T) {
	disconnected := buildOptions
	disconnected.Mirrors, disconnected.ProxySecret = true, "proxy-login"
	restricting := buildOptions
	restricting.AllowedUIDs = "1-"
	plain := dockerBuild()
	plain.Spec.Source = buildv1.BuildSource{Dockerfile: plain.Spec.Source.Dockerfile}
	plain.Spec.Strategy.DockerStrategy.Volumes = nil
	golden(t, "build-docker", podOf(t, dockerBuild(), restricting))
	golden(t, "build-docker-plain", podOf(t, plain, disconnected))
	golden(t, "build-source", podOf(t, sourceBuild(), restricting))
}

// TestBuildIsWhole: what the containers read is the Build, once the kubelet has put in
// what it takes for references.
func TestBuildIsWhole(t *testing.T) {
	b := dockerBuild()
	pod := podOf(t, b, buildOptions)
	all := slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers)
	if len(all) != 4 {
		t.Fatalf("%d containers", len(all))
	}
	for _, c := range all {
		if len(c.Env) != 1 || c.Env[0].Name != "BUILD" {
			t.Fatalf("%s has the environment %v", c.Name, c.Env)
		}
		var got buildv1.Build
		if err := json.Unmarshal([]byte(strings.ReplaceAll(c.Env[0].Value, "$$", "$")), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, &got); diff != "" {
			t.Errorf("%s reads:\n%s", c.Name, diff)
		}
	}
}

// TestBuildStepsShareNothingWorthStealing: the container that runs the user's steps has
// no Secret but those that the user gives the steps, no token and no flag about any.
func TestBuildStepsShareNothingWorthStealing(t *testing.T) {
	for step, b := range map[string]*buildv1.Build{api.ContainerDockerBuild: dockerBuild(), api.ContainerSourceBuild: sourceBuild()} {
		t.Run(step, func(t *testing.T) {
			p := podOf(t, b, buildOptions)
			c := container(t, p, step)
			volumes := map[string]corev1.Volume{}
			for _, v := range p.Spec.Volumes {
				volumes[v.Name] = v
			}
			for _, m := range c.VolumeMounts {
				if v := volumes[m.Name]; v.EmptyDir == nil && (!strings.HasPrefix(m.Name, "volume-") || !m.ReadOnly) {
					t.Errorf("it mounts %s", m.Name)
				}
				if m.Name == "work" && !m.ReadOnly {
					t.Error("it may change what push takes on trust")
				}
			}
			for _, a := range c.Args {
				if strings.Contains(a, "secret-dir") || strings.Contains(a, "ca-file") {
					t.Errorf("it has the argument %s", a)
				}
			}
			for _, m := range container(t, p, api.ContainerPush).VolumeMounts {
				if !m.ReadOnly || m.Name == "storage" || m.Name == "tmp" {
					t.Errorf("push mounts %s", m.Name)
				}
			}
		})
	}
}

// TestBuildPodSecurity: Pod Security's baseline level, no token, no rights, no root.
func TestBuildPodSecurity(t *testing.T) {
	for _, b := range []*buildv1.Build{dockerBuild(), sourceBuild()} {
		p := podOf(t, b, buildOptions)
		s := p.Spec
		if *s.AutomountServiceAccountToken || s.HostNetwork || s.HostPID || s.HostIPC || s.RestartPolicy != corev1.RestartPolicyNever || !*s.SecurityContext.RunAsNonRoot {
			t.Errorf("the pod's spec: %+v", s)
		}
		if s.ServiceAccountName != b.Spec.ServiceAccount {
			t.Errorf("ServiceAccount %q", s.ServiceAccountName)
		}
		for _, v := range s.Volumes {
			if v.HostPath != nil {
				t.Errorf("volume %s is of the host", v.Name)
			}
		}
		for _, c := range slices.Concat(s.InitContainers, s.Containers) {
			runs := c.Name == api.ContainerManageDockerfile || strings.HasSuffix(c.Name, "-build")
			security := c.SecurityContext
			if security.Privileged != nil || !slices.Equal(security.Capabilities.Drop, []corev1.Capability{"ALL"}) || *security.AllowPrivilegeEscalation != runs ||
				(security.SeccompProfile == nil) != runs || len(security.Capabilities.Add) > 0 != runs {
				t.Errorf("%s has the security context %+v", c.Name, security)
			}
			if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError || !slices.Contains(c.Args, "--termination-message-path="+c.TerminationMessagePath) {
				t.Errorf("%s leaves its report in %q", c.Name, c.TerminationMessagePath)
			}
		}
		if !executor.Owns(b, p) {
			t.Error("the pod is not the Build's")
		}
	}
}

// TestLoginOfTheSourceIsForWhoFetchesIt alone.
func TestLoginOfTheSourceIsForWhoFetchesIt(t *testing.T) {
	const login, through = "hunter2", "proxypass"
	b := dockerBuild()
	proxy := "http://user:" + through + "@proxy.example.com:1"
	b.Spec.Source.Git.URI, b.Spec.Source.Git.HTTPProxy = "https://user:"+login+"@git.example.com/app.git", &proxy
	pod := podOf(t, b, buildOptions)
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		for _, secret := range []string{login, through} {
			if has := strings.Contains(c.Env[0].Value, secret); has != (c.Name == api.ContainerGitClone) {
				t.Errorf("container %s has %s: %t", c.Name, secret, has)
			}
		}
		if !strings.Contains(c.Env[0].Value, "git.example.com/app.git") {
			t.Errorf("container %s does not know the source", c.Name)
		}
	}
	if b.Spec.Source.Git.HTTPProxy == nil {
		t.Error("the Build itself was changed")
	}
}

// TestLoginOfScriptsIsForWhoDownloadsThem alone.
func TestLoginOfScriptsIsForWhoDownloadsThem(t *testing.T) {
	const login, token, plain = "hunter2", "querytoken", "https://scripts.example.com/s2i"
	for scripts, want := range map[string]string{
		"https://user:" + login + "@scripts.example.com/s2i?token=" + token: plain,
		"https://" + login + "@scripts.example.com/s2i":                     plain,
		plain + "?" + token + "#" + login:                                   plain,
		"https://user:" + login + "@scripts.example.com:x/s2i?" + token:     "",
		"image:///usr/libexec/s2i":                                          "image:///usr/libexec/s2i",
	} {
		b := sourceBuild()
		b.Spec.Strategy.SourceStrategy.Scripts = scripts
		pod := podOf(t, b, buildOptions)
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			var got buildv1.Build
			if err := json.Unmarshal([]byte(c.Env[0].Value), &got); err != nil {
				t.Fatal(err)
			}
			wanted := want
			if c.Name == api.ContainerManageDockerfile {
				wanted = scripts
			}
			if read := got.Spec.Strategy.SourceStrategy.Scripts; read != wanted {
				t.Errorf("container %s reads scripts %q, want %q", c.Name, read, wanted)
			}
		}
		if b.Spec.Strategy.SourceStrategy.Scripts != scripts {
			t.Error("the Build itself was changed")
		}
	}
}

func TestBuildTooLong(t *testing.T) {
	b := sourceBuild()
	b.Annotations = map[string]string{"a": strings.Repeat("x", maxBuild)}
	if _, err := ForBuild(b, buildOptions); err == nil || !strings.Contains(err.Error(), "shorten source.dockerfile") {
		t.Errorf("error %v", err)
	}
	text, err := encode(sourceBuild())
	if err != nil {
		t.Fatal(err)
	}
	b.Annotations["a"] = strings.Repeat("x", maxBuild-len(text)-len(`,"annotations":{"a":""}`))
	pod := podOf(t, b, buildOptions)
	if got := len("BUILD=") + len(pod.Spec.Containers[0].Env[0].Value) + 1; got != 128<<10 {
		t.Errorf("the longest environment variable has %d bytes", got)
	}
}
