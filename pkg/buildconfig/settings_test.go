package buildconfig

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

const repository = "registry.example.com/os/images"

func configMap(pairs ...string) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{Data: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		cm.Data[pairs[i]] = pairs[i+1]
	}
	return cm
}

func defaults() Settings {
	return Settings{
		Repository: repository, MaxConcurrentBuilds: 2, BuildTimeout: time.Hour, MaxBuildRetries: 3, ImagesToKeep: 3,
		LayerCompression: api.CompressionGzip, ConfigLayerOrder: api.ConfigLayerFirst, BuildCache: api.BuildCacheNone,
	}
}

// TestOrderAndArchitectures: what does not go together is told.
func TestOrderAndArchitectures(t *testing.T) {
	for order, wrong := range map[string]bool{api.ConfigLayerFirst: false, api.ConfigLayerLast: true} {
		_, problems := Read(configMap(api.KeyFinalImagePullspec, repository, api.KeyArchitectures, "arm64", api.KeyConfigLayerOrder, order), nil)
		if text := problems.String(); (text != "") != wrong || wrong && !strings.Contains(text, api.KeyArchitectures) {
			t.Errorf("%s: %q", order, text)
		}
	}
}

// TestEveryKey reads each key of on-cluster-build-config alone, beside the
// required one: values that are right, and values that are not.
func TestEveryKey(t *testing.T) {
	secret := func(key string) func(*Settings, string) {
		return func(s *Settings, v string) { s.Secrets = []SecretRef{{key, v}} }
	}
	for key, row := range map[string]struct {
		right map[string]func(*Settings)
		set   func(*Settings, string) // where every value is taken as it is
		valid []string
		wrong []string
	}{
		api.KeyFinalImagePullspec: {
			right: map[string]func(*Settings){
				repository + ":latest":                                 func(*Settings) {},
				" " + repository + "\n":                                func(*Settings) {},
				repository + "@sha256:" + strings.Repeat("a", 64):      func(*Settings) {},
				"10.1.2.3:5000/os:v1":                                  func(s *Settings) { s.Repository = "10.1.2.3:5000/os" },
				"localhost/os":                                         func(s *Settings) { s.Repository = "localhost/os" },
				"docker.io/example/os":                                 func(s *Settings) { s.Repository = "index.docker.io/example/os" },
				"image-registry.openshift-image-registry.svc:5000/a/b": func(s *Settings) { s.Repository = "image-registry.openshift-image-registry.svc:5000/a/b" },
			},
			wrong: []string{"", "  ", "https://registry.example.com/os", "Registry/UPPER", "a b", "os-images", "os-images:5000", "foo/bar", repository + ":", repository + "@sha256:12"},
		},
		api.KeyFinalImagePushSecretName: {set: secret(api.KeyFinalImagePushSecretName), valid: []string{"push", "a.b-c"}, wrong: []string{"Push", "a/b", "a b", strings.Repeat("a", 254)}},
		api.KeyBaseImagePullSecretName:  {set: secret(api.KeyBaseImagePullSecretName), valid: []string{"pull"}, wrong: []string{"-"}},
		api.KeyFinalImagePullSecretName: {set: secret(api.KeyFinalImagePullSecretName), valid: []string{"extra"}, wrong: []string{"_"}},
		api.KeyFinalImagePullSecret:     {set: secret(api.KeyFinalImagePullSecret), valid: []string{"extra"}, wrong: []string{"a..b"}},
		api.KeyImageBuilderType: {
			set: func(s *Settings, v string) { s.BuilderType = v }, valid: []string{api.BuilderCustomPod, api.BuilderOpenShift},
			wrong: []string{"custom", "Custom-Pod-Builder"},
		},
		api.KeyBuilderImagePullspec: {
			set: func(s *Settings, v string) { s.BuilderImage = v }, valid: []string{"mirror.example.com/builder:1", "b@sha256:" + strings.Repeat("0", 64)},
			wrong: []string{"a b", ":x"},
		},
		api.KeyMaxConcurrentBuilds: {
			right: map[string]func(*Settings){"1": func(s *Settings) { s.MaxConcurrentBuilds = 1 }, " 20 ": func(s *Settings) { s.MaxConcurrentBuilds = 20 }},
			wrong: []string{"0", "-1", "two", "1.5", "99999999999999999999"},
		},
		api.KeyBuildTimeout: {
			right: map[string]func(*Settings){"90m": func(s *Settings) { s.BuildTimeout = 90 * time.Minute }, "1s": func(s *Settings) { s.BuildTimeout = time.Second }},
			wrong: []string{"60", "0s", "-1h", "999ms", "1 hour", "600000h"},
		},
		api.KeyBaseImagePollInterval: {
			right: map[string]func(*Settings){"24h": func(s *Settings) { s.BaseImagePollInterval = 24 * time.Hour }},
			wrong: []string{"daily", "0s", "-1h"},
		},
		api.KeyMaxBuildRetries: {
			right: map[string]func(*Settings){"0": func(s *Settings) { s.MaxBuildRetries = 0 }, "7": func(s *Settings) { s.MaxBuildRetries = 7 }},
			wrong: []string{"-1", "many"},
		},
		api.KeyImagesToKeep: {
			right: map[string]func(*Settings){"1": func(s *Settings) { s.ImagesToKeep = 1 }},
			wrong: []string{"0", "all"},
		},
		api.KeyLayerCompression: {
			set: func(s *Settings, v string) { s.LayerCompression = v }, valid: []string{"gzip", "zstd"},
			wrong: []string{"ZSTD", "none", "zstd:chunked", "xz"},
		},
		api.KeyConfigLayerOrder: {
			set: func(s *Settings, v string) { s.ConfigLayerOrder = v }, valid: []string{"first", "last"},
			wrong: []string{"LAST", "second", "true"},
		},
		api.KeyBuildCache: {
			set: func(s *Settings, v string) { s.BuildCache = v }, valid: []string{"none", "registry"},
			wrong: []string{"REGISTRY", "false", "registry.example.com/cache"},
		},
		api.KeyBuildStoragePVC: {
			set: func(s *Settings, v string) { s.StorageClaim = v }, valid: []string{"base-images", "a.b"}, wrong: []string{"Base", "a/b", "a b"},
		},
		api.KeyBuildPodResources: {
			right: map[string]func(*Settings){"limits:\n  memory: 2Gi\n": func(s *Settings) {
				s.Scheduling.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}
			}, "{}": func(*Settings) {}},
			wrong: []string{"limits: lots", "limit: {memory: 1Gi}", "limits: {memory: much}", "\tx", "[]"},
		},
		api.KeyBuildPodNodeSelector: {
			right: map[string]func(*Settings){"build: \"yes\"": func(s *Settings) { s.Scheduling.NodeSelector = map[string]string{"build": "yes"} }},
			wrong: []string{"build", "- a", "a: [b]"},
		},
		api.KeyBuildPodTolerations: {
			right: map[string]func(*Settings){"- {key: build, operator: Exists}": func(s *Settings) {
				s.Scheduling.Tolerations = []corev1.Toleration{{Key: "build", Operator: corev1.TolerationOpExists}}
			}},
			wrong: []string{"key: build", "- {kee: build}"},
		},
		api.KeyArchitectures: {
			right: map[string]func(*Settings){
				"arm64":                             func(s *Settings) { s.Architectures = []string{"arm64"} },
				"arm64,amd64":                       func(s *Settings) { s.Architectures = []string{"amd64", "arm64"} },
				" s390x\n ppc64le,, amd64 amd64,\n": func(s *Settings) { s.Architectures = []string{"amd64", "ppc64le", "s390x"} },
			},
			wrong: []string{"x86_64", "amd64;arm64", "linux/amd64", "AMD64", ",", "386"},
		},
		api.KeyArchitectureSelectors: {
			right: map[string]func(*Settings){
				"amd64: {kind: big}\narm64: {}\n": func(s *Settings) {
					s.Scheduling.ArchitectureSelectors = map[string]map[string]string{"amd64": {"kind": "big"}, "arm64": {}}
				},
				"{}": func(s *Settings) { s.Scheduling.ArchitectureSelectors = map[string]map[string]string{} },
			},
			wrong: []string{"amd64", "aarch64: {kind: big}", "amd64: big", "amd64: {kind: [big]}"},
		},
		api.KeyBuildPodPriorityClass: {set: func(s *Settings, v string) { s.Scheduling.PriorityClassName = v }, valid: []string{"system-node-critical"}, wrong: []string{"High!"}},
	} {
		if row.right == nil {
			row.right = map[string]func(*Settings){}
		}
		for _, v := range row.valid {
			row.right[v] = func(s *Settings) { row.set(s, v) }
		}
		if key != api.KeyFinalImagePullspec {
			row.right[""], row.right["  "] = func(*Settings) {}, func(*Settings) {}
		}
		for value, change := range row.right {
			want := defaults()
			change(&want)
			got, problems := Read(configMap(api.KeyFinalImagePullspec, repository, key, value), nil)
			if len(problems) > 0 {
				t.Errorf("%s=%q: %v", key, value, problems)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s=%q:\n%s", key, value, diff)
			}
		}
		for _, value := range row.wrong {
			_, problems := Read(configMap(api.KeyFinalImagePullspec, repository, key, value), nil)
			if len(problems) != 1 || problems[0].Key != key || problems[0].Object != "ConfigMap/"+api.ConfigMapBuildConfig {
				t.Errorf("%s=%q: problems %q, want one of that key", key, value, problems)
				continue
			}
			if said := problems.String(); !strings.Contains(said, key) || (strings.TrimSpace(value) != "" && len(said) <= len(key)+len(problems[0].Object)+10) {
				t.Errorf("%s=%q: %q does not help", key, value, said)
			}
		}
	}
}

func TestS32UnknownBuilderTypeListsTheValidOnes(t *testing.T) {
	_, problems := Read(configMap(api.KeyFinalImagePullspec, repository, api.KeyImageBuilderType, "kaniko"), nil)
	for _, want := range []string{`"kaniko"`, api.BuilderCustomPod, api.BuilderOpenShift} {
		if !strings.Contains(problems.String(), want) {
			t.Errorf("%q does not name %s", problems, want)
		}
	}
}

func TestUnknownCompressionListsTheValidOnes(t *testing.T) {
	_, problems := Read(configMap(api.KeyFinalImagePullspec, repository, api.KeyLayerCompression, "xz"), nil)
	for _, want := range []string{api.KeyLayerCompression, `"xz"`, "gzip", "zstd"} {
		if !strings.Contains(problems.String(), want) {
			t.Errorf("%q does not name %s", problems, want)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	wrong := []string{
		api.KeyFinalImagePullspec, "", api.KeyFinalImagePushSecretName, "A", api.KeyImageBuilderType, "x",
		api.KeyMaxConcurrentBuilds, "0", api.KeyBuildTimeout, "x", api.KeyBuildPodTolerations, "x",
	}
	_, problems := Read(configMap(wrong...), configMap(api.KeyBaseOSContainerImage, "a b"))
	var keys []string
	for _, p := range problems {
		keys = append(keys, p.Key)
	}
	want := []string{
		api.KeyFinalImagePullspec, api.KeyFinalImagePushSecretName, api.KeyImageBuilderType,
		api.KeyMaxConcurrentBuilds, api.KeyBuildTimeout, api.KeyBuildPodTolerations, api.KeyBaseOSContainerImage,
	}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Errorf("keys with problems:\n%s", diff)
	}
	if text := problems.String(); !strings.Contains(text, "ConfigMap/"+api.ConfigMapOSImageURL+", key "+api.KeyBaseOSContainerImage) {
		t.Errorf("%q does not name the other ConfigMap", text)
	}
}

func TestMissingConfigMap(t *testing.T) {
	_, problems := Read(nil, nil)
	if text := problems.String(); len(problems) != 1 || !strings.Contains(text, "does not exist") || !strings.Contains(text, api.KeyFinalImagePullspec) {
		t.Errorf("problems %q", text)
	}
}

func TestOSImageURL(t *testing.T) {
	s, problems := Read(configMap(api.KeyFinalImagePullspec, repository), configMap(
		api.KeyBaseOSContainerImage, "quay.io/os:4.14", api.KeyBaseOSExtensionsContainerImage, "quay.io/ext:4.14",
		api.KeyReleaseVersion, "4.14.0", api.KeyOSImageURL, "", "somebody-elses", "key"))
	want := defaults()
	want.BaseImage, want.ExtensionsImage, want.ReleaseVersion = "quay.io/os:4.14", "quay.io/ext:4.14", "4.14.0"
	if diff := cmp.Diff(want, s); diff != "" || len(problems) > 0 {
		t.Errorf("problems %q, settings:\n%s", problems, diff)
	}
}

func TestUnknownKeys(t *testing.T) {
	s, problems := Read(configMap(api.KeyFinalImagePullspec, repository, "zeta", "", "finalImagePullSpec", "typo"), nil)
	if diff := cmp.Diff([]string{"finalImagePullSpec", "zeta"}, s.UnknownKeys); diff != "" || len(problems) > 0 {
		t.Errorf("problems %q, unknown keys:\n%s", problems, diff)
	}
}

func TestCredentials(t *testing.T) {
	s, problems := Read(configMap(api.KeyFinalImagePullspec, repository,
		api.KeyFinalImagePushSecretName, "one", api.KeyBaseImagePullSecretName, "one",
		api.KeyFinalImagePullSecretName, "two", api.KeyFinalImagePullSecret, "two"), nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if diff := cmp.Diff(buildspec.Credentials{Push: "one", Pull: []string{"one", "two"}}, s.Credentials()); diff != "" {
		t.Errorf("credentials:\n%s", diff)
	}
}

// FuzzRead: whatever is written, the answer is settings or problems that say
// which key.
func FuzzRead(f *testing.F) {
	f.Add(repository, "60m", "limits: {memory: 1Gi}", "- {key: a}", "2")
	f.Add("", "\x00", "{", "!!binary x", "-")
	f.Fuzz(func(t *testing.T, pullspec, timeout, resources, tolerations, number string) {
		s, problems := Read(configMap(api.KeyFinalImagePullspec, pullspec, api.KeyBuildTimeout, timeout,
			api.KeyBuildPodResources, resources, api.KeyBuildPodTolerations, tolerations, api.KeyMaxBuildRetries, number), nil)
		for _, p := range problems {
			if p.Key == "" || p.Text == "" {
				t.Errorf("problem %+v", p)
			}
		}
		if len(problems) == 0 && (s.Repository == "" || s.BuildTimeout < time.Second || s.MaxBuildRetries < 0) {
			t.Errorf("settings %+v", s)
		}
	})
}

// FuzzKey sets one key beside the required one: what is wrong is told of that
// key and no other, and a key that nobody knows is told as such.
func FuzzKey(f *testing.F) {
	for key, value := range map[string]string{
		api.KeyFinalImagePullspec: "a b", api.KeyImageBuilderType: "x", api.KeyMaxConcurrentBuilds: "0", api.KeyBuildTimeout: "1ns", api.KeyBuildPodResources: "limits: {memory: -1}",
		api.KeyBuildPodNodeSelector: "a: 1", api.KeyBuildPodTolerations: "{}", api.KeyBuildPodPriorityClass: "A", api.KeyBaseImagePullSecretName: "/", "typo": "",
	} {
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		s, problems := Read(configMap(api.KeyFinalImagePullspec, repository, key, value), nil)
		for _, p := range problems {
			if p.Object != "ConfigMap/"+api.ConfigMapBuildConfig || p.Key != key || p.Text == "" {
				t.Errorf("key %q: problem %+v", key, p)
			}
		}
		if len(s.UnknownKeys) > 0 && (len(problems) > 0 || len(s.UnknownKeys) != 1 || s.UnknownKeys[0] != key) {
			t.Errorf("key %q: unknown %q, problems %q", key, s.UnknownKeys, problems)
		}
	})
}
