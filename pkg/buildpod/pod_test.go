package buildpod

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

var update = flag.Bool("update", false, "write the golden files anew")

func request(change ...func(*buildspec.Request)) buildspec.Request {
	r := buildspec.Request{
		ID: "v1-0123", RenderedConfig: "rendered-worker-aa", MachineConfig: buildspec.Payload{Chunks: []string{"a", "b"}, SHA256: "feed"},
		BaseImage: "registry.example.com/os/base:1", FinalImage: "registry.example.com/os/images:rendered-worker-aa",
		BuilderImage: "registry.example.com/builder:1", Timeout: time.Hour,
		ImageLabels: map[string]string{"machineconfig": "rendered-worker-aa", "a.b/inputs-hash": "v1-0123"},
		Credentials: buildspec.Credentials{Push: "push-here", Pull: []string{"pull-base", "pull-more"}},
	}
	for _, c := range change {
		c(&r)
	}
	return r
}

func custom(r *buildspec.Request) { r.CustomContent = true }

func scheduled(r *buildspec.Request) {
	r.Scheduling = buildspec.Scheduling{
		Resources:         corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}},
		NodeSelector:      map[string]string{"build": "yes"},
		Tolerations:       []corev1.Toleration{{Key: "build", Operator: corev1.TolerationOpExists}},
		PriorityClassName: "low",
	}
}

func bare(r *buildspec.Request) {
	r.Credentials, r.Timeout, r.MachineConfig.Chunks = buildspec.Credentials{}, 0, []string{"a"}
}

// proxyPassword is what no pod may show.
const proxyPassword = "hunter2"

func disconnected(r *buildspec.Request) {
	r.Network.Registries = "[[registry]]\nprefix = \"registry.example.com\"\n"
	r.Network.Proxy = proxy.Config{HTTP: "http://user:" + proxyPassword + "@proxy.example.com:3128", No: ".svc"}
}

// TestPodsShowNoProxy: whoever may look at pods learns nothing of a proxy's login.
func TestPodsShowNoProxy(t *testing.T) {
	for _, r := range []buildspec.Request{request(disconnected), request(custom, disconnected)} {
		text, err := yaml.Marshal(New(r))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), proxyPassword) || strings.Contains(string(text), "proxy.example.com") {
			t.Errorf("the pod shows the proxy:\n%s", text)
		}
		if !strings.Contains(string(text), "--proxy-dir=") {
			t.Error("the pod does not know the proxy")
		}
	}
}

func severalArchitectures(r *buildspec.Request) {
	r.Architectures = []string{"amd64", "arm64"}
}

// TestNodesOfAnArchitecture: the user's selector counts besides.
func TestNodesOfAnArchitecture(t *testing.T) {
	selectors := func(s map[string]map[string]string) func(*buildspec.Request) {
		return func(r *buildspec.Request) { r.Scheduling.ArchitectureSelectors = s }
	}
	for name, row := range map[string]struct {
		request buildspec.Request
		want    map[string]string
	}{
		"by the kubelet's label": {request(custom), map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}},
		"beside the user's":      {request(custom, scheduled), map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64", "build": "yes"}},
		"by other labels": {
			request(custom, scheduled, selectors(map[string]map[string]string{"arm64": {"kind": "small"}})),
			map[string]string{"kubernetes.io/os": "linux", "kind": "small", "build": "yes"},
		},
		"over the user's":         {request(custom, scheduled, selectors(map[string]map[string]string{"arm64": {"build": "arm"}})), map[string]string{"kubernetes.io/os": "linux", "build": "arm"}},
		"of another architecture": {request(custom, selectors(map[string]map[string]string{"amd64": {"kind": "big"}})), map[string]string{"kubernetes.io/os": "linux", "kubernetes.io/arch": "arm64"}},
		"by nothing":              {request(custom, selectors(map[string]map[string]string{"arm64": {}})), map[string]string{"kubernetes.io/os": "linux"}},
	} {
		if diff := cmp.Diff(row.want, NewFor(row.request, "arm64", "run-1").Spec.NodeSelector); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
}

func cached(r *buildspec.Request) {
	r.BuildCache, r.RebuildToken = strings.Repeat("ab", 20), "again"
}

func kept(r *buildspec.Request) { r.StorageClaim = "base-images" }

// TestKeptImages: only the container that runs nothing of the user's writes to the claim,
// and a try after one that failed has none.
func TestKeptImages(t *testing.T) {
	attempt := func(n int) func(*buildspec.Request) { return func(r *buildspec.Request) { r.Attempt = n } }
	for name, row := range map[string]struct {
		request buildspec.Request
		writes  map[string]bool // by container
	}{
		"the first try":     {request(custom, kept, attempt(1)), map[string]bool{api.ContainerPrepare: true, api.ContainerBuild: false}},
		"another try":       {request(custom, kept, attempt(2)), map[string]bool{}},
		"nothing runs":      {request(kept, attempt(1)), map[string]bool{}},
		"no claim is named": {request(custom, attempt(1)), map[string]bool{}},
	} {
		pod, writes := New(row.request), map[string]bool{}
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			for _, m := range c.VolumeMounts {
				if m.Name == "kept-images" {
					writes[c.Name] = !m.ReadOnly
				}
			}
		}
		if diff := cmp.Diff(row.writes, writes); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
		if group := pod.Spec.SecurityContext.FSGroup; (group != nil) != (len(row.writes) > 0) {
			t.Errorf("%s: the volumes' group is %v", name, group)
		}
	}
}

func TestGolden(t *testing.T) {
	several := request(custom, scheduled, severalArchitectures)
	for name, pod := range map[string]*corev1.Pod{
		"three-steps-amd64": NewFor(several, "amd64", "run-1"), "three-steps-arm64": NewFor(several, "arm64", "run-1"),
	} {
		golden(t, name, pod)
	}
	for name, r := range map[string]buildspec.Request{
		"one-step": request(), "three-steps": request(custom, scheduled), "one-step-bare": request(bare), "three-steps-cached": request(custom, cached),
		"three-steps-kept":      request(custom, kept, func(r *buildspec.Request) { r.Attempt, r.Timeout = 1, 45*time.Minute }),
		"one-step-disconnected": request(bare, disconnected), "three-steps-disconnected": request(custom, disconnected, func(r *buildspec.Request) { r.Network.ProxySecret = "proxy-login" }),
	} {
		golden(t, name, New(r))
	}
}

func golden(t *testing.T, name string, pod *corev1.Pod) {
	t.Run(name, func(t *testing.T) {
		got, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".yaml")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("pod:\n%s", diff)
		}
	})
}

// container finds one of a pod's containers of either kind.
func container(t *testing.T, p *corev1.Pod, name string) corev1.Container {
	t.Helper()
	all := slices.Concat(p.Spec.InitContainers, p.Spec.Containers)
	i := slices.IndexFunc(all, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("the pod has no container %s", name)
	}
	return all[i]
}

// TestUserStepsShareNothingWorthStealing: the container that runs the user's
// steps has no Secret, no certificate, no token and no flag about any.
func TestUserStepsShareNothingWorthStealing(t *testing.T) {
	p := New(request(custom, scheduled))
	volumes := map[string]corev1.Volume{}
	for _, v := range p.Spec.Volumes {
		volumes[v.Name] = v
	}
	build := container(t, p, api.ContainerBuild)
	// What steps are given on purpose: pkg/buildpod/network.go.
	meant := []string{"entitlement", "rpm-gpg", "yum-repos", "user-ca"}
	for _, m := range build.VolumeMounts {
		if v := volumes[m.Name]; v.EmptyDir == nil && (!slices.Contains(meant, m.Name) || !m.ReadOnly) {
			t.Errorf("%s mounts %s, which is no emptyDir", build.Name, m.Name)
		}
	}
	for _, arg := range slices.Concat(build.Command, build.Args) {
		for _, word := range []string{"secret", "ca-file", "final-image", "push-here", "pull-"} {
			if strings.Contains(arg, word) {
				t.Errorf("%s has the argument %s", build.Name, arg)
			}
		}
	}
	if len(build.Env)+len(build.EnvFrom) > 0 {
		t.Errorf("%s has an environment: %v", build.Name, build.Env)
	}
	for _, name := range []string{api.ContainerPrepare, api.ContainerPush} {
		for _, m := range container(t, p, name).VolumeMounts {
			if m.Name == "tmp" && m.SubPath != name {
				t.Errorf("/tmp of %s is shared: sub path %q", name, m.SubPath)
			}
		}
	}
	if got := []string{p.Spec.InitContainers[0].Name, p.Spec.InitContainers[1].Name, p.Spec.Containers[0].Name}; !slices.Equal(got, []string{api.ContainerPrepare, api.ContainerBuild, api.ContainerPush}) {
		t.Errorf("containers run in the order %v", got)
	}
}

// TestPushOnlyReads: the container with the push credential after the user's
// steps writes nowhere, sees nothing of the store in which they ran, and meets
// the restricted Pod Security level.
func TestPushOnlyReads(t *testing.T) {
	p := New(request(custom, scheduled))
	push := container(t, p, api.ContainerPush)
	for _, m := range push.VolumeMounts {
		if !m.ReadOnly {
			t.Errorf("%s may write to %s", push.Name, m.Name)
		}
		if m.Name == "storage" || m.Name == "tmp" {
			t.Errorf("%s mounts %s", push.Name, m.Name)
		}
	}
	s := push.SecurityContext
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || len(s.Capabilities.Add) > 0 ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s is not restricted: %+v", push.Name, s)
	}
	for _, m := range container(t, p, api.ContainerBuild).VolumeMounts {
		if m.Name == "work" && !m.ReadOnly {
			t.Error("the user's steps may change what push takes on trust")
		}
	}
	if args := strings.Join(push.Args, " "); !strings.Contains(args, "--label=a.b/inputs-hash=v1-0123") {
		t.Errorf("%s does not say what the image is made of: %s", push.Name, args)
	}
}

func TestEveryPod(t *testing.T) {
	for name, r := range map[string]buildspec.Request{"one step": request(), "three steps": request(custom), "bare": request(bare)} {
		t.Run(name, func(t *testing.T) {
			p := New(r)
			if s := p.Spec; s.AutomountServiceAccountToken == nil || *s.AutomountServiceAccountToken || s.ServiceAccountName != "" {
				t.Error("the pod gets a token")
			}
			if s := p.Spec; s.HostNetwork || s.HostPID || s.HostIPC || s.RestartPolicy != corev1.RestartPolicyNever {
				t.Errorf("host namespaces or restarts: %+v", s)
			}
			if p.Annotations["kubectl.kubernetes.io/default-container"] != api.ContainerBuild {
				t.Error("kubectl logs does not follow the build")
			}
			if s := p.Spec.SecurityContext; !*s.RunAsNonRoot || *s.RunAsUser == 0 {
				t.Error("the pod may run as root")
			}
			for _, v := range p.Spec.Volumes {
				if v.HostPath != nil {
					t.Errorf("volume %s is of the host", v.Name)
				}
			}
			for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
				s := c.SecurityContext
				if s.Privileged != nil && *s.Privileged || !slices.Contains(s.Capabilities.Drop, "ALL") {
					t.Errorf("%s has privileges: %+v", c.Name, s)
				}
				if (s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem) && !(r.CustomContent && c.Name == api.ContainerBuild) {
					t.Errorf("%s may write to its root", c.Name)
				}
				if c.TerminationMessagePath == "" || strings.HasPrefix(c.TerminationMessagePath, "/dev/") || !slices.Contains(c.Args, "--termination-message-path="+c.TerminationMessagePath) {
					t.Errorf("%s leaves its result in %q, where steps see it, with arguments %q", c.Name, c.TerminationMessagePath, c.Args)
				}
				if c.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
					t.Errorf("%s says nothing when it is killed", c.Name)
				}
			}
		})
	}
}

// TestOneStepIsRestricted checks what the restricted Pod Security level asks.
func TestOneStepIsRestricted(t *testing.T) {
	p := New(request())
	if profile := p.Spec.SecurityContext.SeccompProfile; profile == nil || profile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Error("no seccomp profile")
	}
	for _, c := range p.Spec.Containers {
		s := c.SecurityContext
		if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || len(s.Capabilities.Add) > 0 {
			t.Errorf("%s is not restricted: %+v", c.Name, s)
		}
	}
	if len(p.Spec.InitContainers) > 0 || len(p.Spec.Containers) != 1 {
		t.Error("it has more than one step")
	}
}

func TestS36ManyChunks(t *testing.T) {
	p := New(request(func(r *buildspec.Request) { r.MachineConfig.Chunks = make([]string, 12) }))
	for _, v := range p.Spec.Volumes {
		if v.Name != "machine-config" {
			continue
		}
		for i, s := range v.Projected.Sources {
			want := []string{"mc-rendered-worker-aa-11", "0011"}
			if got := []string{s.ConfigMap.Name, s.ConfigMap.Items[0].Path}; i == 11 && !slices.Equal(got, want) {
				t.Errorf("chunk 11 is %v, want %v", got, want)
			}
		}
		if n := len(v.Projected.Sources); n != 12 {
			t.Errorf("%d chunks are mounted", n)
		}
		return
	}
	t.Error("no MachineConfig is mounted")
}

// TestNewSharesNothing: a pod that is changed changes no other.
func TestNewSharesNothing(t *testing.T) {
	r := request(custom, scheduled)
	New(r).Spec.NodeSelector["x"] = "y"
	if _, ok := r.Scheduling.NodeSelector["x"]; ok {
		t.Error("the request's node selector is the pod's")
	}
}

// TestCompressionIsForThoseWhoMakeLayers: gzip is what a builder does that knows
// no such flag.
func TestCompressionIsForThoseWhoMakeLayers(t *testing.T) {
	for _, name := range []string{"", api.CompressionGzip, api.CompressionZstd} {
		for _, r := range []buildspec.Request{request(), request(custom)} {
			r.LayerCompression = name
			pod := New(r)
			for _, c := range append(pod.Spec.InitContainers, pod.Spec.Containers...) {
				want := name == api.CompressionZstd && c.Name == api.ContainerBuild
				if got := slices.Contains(c.Args, "--layer-compression=zstd"); got != want || !want && strings.Contains(strings.Join(c.Args, " "), "compression") {
					t.Errorf("%q: %s has the arguments %q", name, c.Name, c.Args)
				}
			}
		}
	}
}
