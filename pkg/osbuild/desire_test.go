package osbuild

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

// TestIdentity: what makes another image, and what does not.
func TestIdentity(t *testing.T) {
	same := Desire(inputs()).Request.ID
	for name, row := range map[string]struct {
		change  func(*Inputs)
		another bool
	}{
		"nothing": {func(*Inputs) {}, false},
		"S27: a Secret of another name": {func(in *Inputs) {
			in.Settings.Secrets = []buildconfig.SecretRef{{Key: api.KeyFinalImagePushSecretName, Name: "other"}}
		}, false},
		"the builder image":         {func(in *Inputs) { in.Settings.BuilderImage = "mirror/builder:2" }, false},
		"the timeout":               {func(in *Inputs) { in.Settings.BuildTimeout = time.Minute }, false},
		"limits":                    {func(in *Inputs) { in.Settings.MaxBuildRetries, in.Settings.MaxConcurrentBuilds = 9, 9 }, false},
		"where the pod runs":        {func(in *Inputs) { in.Settings.Scheduling.PriorityClassName = "high" }, false},
		"how many images to keep":   {func(in *Inputs) { in.Settings.ImagesToKeep = 7 }, false},
		"how layers are compressed": {func(in *Inputs) { in.Settings.LayerCompression = api.CompressionZstd }, false},
		"what is kept of steps":     {func(in *Inputs) { in.Settings.BuildCache = api.BuildCacheRegistry }, false},
		"where bases are kept":      {func(in *Inputs) { in.Settings.StorageClaim = "base-images" }, false},
		"an unknown key":            {func(in *Inputs) { in.Settings.UnknownKeys = []string{"typo"} }, false},
		"the pool made again":       {func(in *Inputs) { in.Pool.UID = "pool-2" }, false},
		"a base image that the rendered config overrides": {func(in *Inputs) {
			in.Config.OSImageURL, in.Settings.BaseImage = inputs().Settings.BaseImage, "registry.example.com/os/base:2"
		}, false},
		"another pool":                      {func(in *Inputs) { in.Pool.Name = "infra" }, true},
		"another rendered config":           {func(in *Inputs) { in.TargetConfig = configB }, true},
		"other content of the same name":    {func(in *Inputs) { in.Config.SpecHash = "other" }, true},
		"another base image":                {func(in *Inputs) { in.Settings.BaseImage = "registry.example.com/os/base:2" }, true},
		"osImageURL of the rendered config": {func(in *Inputs) { in.Config.OSImageURL = "registry.example.com/os/base:2" }, true},
		"an extensions image":               {func(in *Inputs) { in.Settings.ExtensionsImage = "registry.example.com/ext:1" }, true},
		"a custom Dockerfile":               {func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\nRUN true\n" }, true},
		"a custom Dockerfile of no steps":   {func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\n" }, true},
		"another release":                   {func(in *Inputs) { in.Settings.ReleaseVersion = "4.14.1" }, true},
		"another repository":                {func(in *Inputs) { in.Settings.Repository = "registry.example.com/os/other" }, true},
		"a rebuild token":                   {func(in *Inputs) { in.RebuildToken = "1" }, true},
	} {
		d := Desire(inputs(row.change))
		if d.Request == nil {
			t.Errorf("%s: no request: %+v", name, d)
			continue
		}
		if another := d.Request.ID != same; another != row.another {
			t.Errorf("%s: another identity: %v, want %v", name, another, row.another)
		}
		label := d.Request.ImageLabels[api.ImageLabelInputsHash]
		if rebuild := d.Request.RebuildToken != ""; !rebuild && label != d.Request.ID || rebuild && label != same {
			t.Errorf("%s: the image's label is %q, the identity %q", name, label, d.Request.ID)
		}
	}
}

// TestBuildCache: each pool has its own, where it is asked for and steps run.
func TestBuildCache(t *testing.T) {
	cacheOf := func(change func(*Inputs)) string {
		return Desire(inputs(func(in *Inputs) {
			in.Settings.BuildCache, in.CustomDockerfile = api.BuildCacheRegistry, "FROM configs AS final\nRUN true\n"
			change(in)
		})).Request.BuildCache
	}
	own := cacheOf(func(*Inputs) {})
	if want := names.BuildCacheID(inputs().Pool.Name, string(inputs().Pool.UID)); own != want {
		t.Errorf("cache %q, want %q", own, want)
	}
	for name, row := range map[string]struct {
		change func(*Inputs)
		none   bool
	}{
		"another pool":        {change: func(in *Inputs) { in.Pool.Name = "infra" }},
		"the pool made again": {change: func(in *Inputs) { in.Pool.UID = "pool-2" }},
		"not asked for":       {change: func(in *Inputs) { in.Settings.BuildCache = api.BuildCacheNone }, none: true},
		"nothing runs":        {change: func(in *Inputs) { in.CustomDockerfile = "" }, none: true},
	} {
		if got := cacheOf(row.change); got == own || (got == "") != row.none {
			t.Errorf("%s: cache %q", name, got)
		}
	}
}

// TestStorageClaim: a base is pulled, and so kept, where steps run.
func TestStorageClaim(t *testing.T) {
	for custom, want := range map[string]string{"FROM configs AS final\nRUN true\n": "base-images", "": ""} {
		d := Desire(inputs(func(in *Inputs) { in.Settings.StorageClaim, in.CustomDockerfile = "base-images", custom }))
		if got := d.Request.StorageClaim; got != want {
			t.Errorf("Dockerfile %q: claim %q, want %q", custom, got, want)
		}
	}
}

func TestRequest(t *testing.T) {
	d := Desire(inputs(func(in *Inputs) {
		in.Config.ExtensionsImage = "registry.example.com/ext:1"
		in.Settings.ReleaseVersion, in.RebuildToken = "4.14.0", "again"
		in.Settings.Secrets = []buildconfig.SecretRef{{Key: api.KeyFinalImagePushSecretName, Name: "push"}, {Key: api.KeyBaseImagePullSecretName, Name: "pull"}}
		in.Settings.BuilderImage = "mirror.example.com/builder:1"
		in.Settings.Scheduling = buildspec.Scheduling{Tolerations: []corev1.Toleration{{Key: "k"}}}
	}))
	got := *d.Request
	if !strings.HasPrefix(got.Dockerfile, "FROM registry.example.com/os/base:1 AS configs\n") {
		t.Errorf("Dockerfile is %q", got.Dockerfile)
	}
	got.Dockerfile = ""
	want := buildspec.Request{
		ID: got.ID, Pool: thePool, RenderedConfig: configA, Builder: api.BuilderCustomPod, Object: "pod/build-" + configA,
		BaseImage: "registry.example.com/os/base:1", FinalImage: repo + ":" + configA,
		ImageLabels: map[string]string{
			"machineconfig": configA, "machineconfigpool": "worker", "releaseversion": "4.14.0",
			"baseOSContainerImage": "registry.example.com/os/base:1", "extensionsOSContainerImage": "registry.example.com/ext:1",
			"machineosbuilder.io/inputs-hash": names.ImageHash(d.Fingerprint),
		},
		Credentials:  buildspec.Credentials{Push: "push", Pull: []string{"pull"}},
		BuilderImage: "mirror.example.com/builder:1", Timeout: time.Hour,
		Scheduling: buildspec.Scheduling{Tolerations: []corev1.Toleration{{Key: "k"}}}, RebuildToken: "again",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request:\n%s", diff)
	}
	if !Desire(inputs(func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\nRUN true\n" })).Request.CustomContent {
		t.Error("a RUN is no custom content")
	}
}

// TestBuilderThatCan: without a word of the user's, what Builds cannot do is done in
// pods.
func TestBuilderThatCan(t *testing.T) {
	for name, change := range map[string]func(*Inputs){
		"architectures":         func(in *Inputs) { in.Settings.Architectures = []string{"arm64"} },
		"the config last":       func(in *Inputs) { in.Settings.ConfigLayerOrder = api.ConfigLayerLast },
		"a large Dockerfile":    func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\n" + strings.Repeat("RUN true\n", 6000) },
		"a stage by its number": func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\nCOPY --from=0 /a /b\n" },
	} {
		if d := Desire(inputs(change, func(in *Inputs) { in.BuildsServed = true })); d.Request == nil || d.Request.Builder != api.BuilderCustomPod {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// TestBuilder: the settings decide, and without them what the cluster has.
func TestBuilder(t *testing.T) {
	for name, row := range map[string]struct {
		wanted string
		served bool
		want   string
	}{
		"nothing said":                  {"", false, api.BuilderCustomPod},
		"nothing said, Builds served":   {"", true, api.BuilderOpenShift},
		"pods, though there are Builds": {api.BuilderCustomPod, true, api.BuilderCustomPod},
		"Builds":                        {api.BuilderOpenShift, true, api.BuilderOpenShift},
	} {
		d := Desire(inputs(func(in *Inputs) { in.Settings.BuilderType, in.BuildsServed = row.wanted, row.served }))
		if d.Request == nil || d.Request.Builder != row.want || d.Request.Object != names.RunKind(row.want)+"/build-"+configA {
			t.Errorf("%s: %+v", name, d)
		}
		if other := Desire(inputs()); d.Request != nil && d.Request.ID != other.Request.ID {
			t.Errorf("%s: the builder is an input of the image", name)
		}
	}
}

// TestKeysThatBuildsDoNotUse are told, each that says something.
func TestKeysThatBuildsDoNotUse(t *testing.T) {
	all := func(in *Inputs) {
		in.Settings.BuildCache, in.Settings.StorageClaim, in.Settings.LayerCompression = api.BuildCacheRegistry, "bases", api.CompressionZstd
		in.Settings.BaseImagePollInterval = time.Hour
		in.Settings.Scheduling.Tolerations, in.Settings.Scheduling.PriorityClassName = []corev1.Toleration{{Key: "k"}}, "high"
		in.Settings.Proxy = buildconfig.Proxy{Config: proxy.Config{HTTP: "http://proxy.example.com:3128"}, SecretName: "proxy"}
	}
	none := func(*Inputs) {}
	served := func(in *Inputs) { in.BuildsServed = true }
	for name, row := range map[string]struct {
		says, builder func(*Inputs)
		want          string
	}{
		"in a pod":          {all, none, ""},
		"none, by a Build":  {none, served, ""},
		"all, by a Build":   {all, served, "buildCache, buildStoragePVC, layerCompression, baseImagePollInterval, buildPodTolerations, buildPodPriorityClassName, httpProxy, httpsProxy, noProxy, proxySecretName; "},
		"one, by a Build":   {func(in *Inputs) { in.Settings.StorageClaim = "bases" }, served, ": buildStoragePVC; let imageBuilderType be custom-pod-builder"},
		"Builds by default": {func(in *Inputs) { in.Settings.Proxy.SecretName = "proxy" }, asked, "openshift-image-builder does not use: proxySecretName; "},
	} {
		d := Desire(inputs(row.says, row.builder))
		if told := fmt.Sprint(d.Warnings); (len(d.Warnings) > 0) != (row.want != "") || !strings.Contains(told, row.want) || d.Request == nil {
			t.Errorf("%s: %s", name, told)
		}
	}
}

func asked(in *Inputs) { in.BuildsServed, in.Settings.BuilderType = true, api.BuilderOpenShift }

// TestObstacles: messages name what to mend. Which obstacle is told first is
// TestPlanAndStatus's.
func TestObstacles(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*Inputs)
		says   []string
	}{
		"S33": {func(in *Inputs) { in.CustomDockerfile = "FROM configs AS final\n\nRUNN x\n" }, []string{api.ConfigMapCustomDockerfile, "key worker", "line 3"}},
		"S32: no base image": {
			func(in *Inputs) { in.Settings.BaseImage = "" }, []string{"osImageURL", configA, api.ConfigMapOSImageURL, api.KeyBaseOSContainerImage},
		},
		"osImageURL that is no pullspec": {func(in *Inputs) { in.Config.OSImageURL = "a b" }, []string{`"a b"`, configA}},
		"Builds, which are not served": {
			func(in *Inputs) { in.Settings.BuilderType = api.BuilderOpenShift }, []string{api.KeyImageBuilderType, api.BuilderCustomPod, "build.openshift.io/v1", "build-executor"},
		},
		"Builds and the config last": {func(in *Inputs) {
			asked(in)
			in.CustomDockerfile, in.Settings.ConfigLayerOrder = "FROM configs AS final\nRUN true\n", api.ConfigLayerLast
		}, []string{api.KeyConfigLayerOrder, api.BuilderOpenShift, api.BuilderCustomPod}},
		"Builds and architectures": {
			func(in *Inputs) { asked(in); in.Settings.Architectures = []string{"arm64"} }, []string{api.KeyArchitectures, api.BuilderOpenShift, api.BuilderCustomPod},
		},
		"Builds and a large Dockerfile": {
			func(in *Inputs) {
				asked(in)
				in.CustomDockerfile = "FROM configs AS final\n" + strings.Repeat("RUN true\n", 6000)
			}, []string{api.ConfigMapCustomDockerfile, "key worker", "54022 bytes", "50000"},
		},
		"Builds and a stage by its number": {
			func(in *Inputs) {
				asked(in)
				in.CustomDockerfile = "FROM configs AS a\nFROM configs AS final\nCOPY --from=1 /a /b\n"
			}, []string{"key worker", "line 3", api.BuilderCustomPod},
		},
		"Builds and a stage of the name that they have": {
			func(in *Inputs) {
				asked(in)
				in.CustomDockerfile = "FROM configs AS os-image-builder\nFROM configs AS final\nRUN true\n"
			}, []string{"key worker", "line 1", `"os-image-builder"`},
		},
		"S35":                  {func(in *Inputs) { in.TargetConfig = "00-worker" }, []string{`"00-worker"`, "rendered"}},
		"S38":                  {func(in *Inputs) { m := "merge failed"; in.RenderDegraded = &m }, []string{"RenderDegraded", "merge failed"}},
		"config not there yet": {func(in *Inputs) { in.Config = nil }, []string{configA, "does not exist yet"}},
	} {
		d := Desire(inputs(row.change))
		o := d.Blocked
		if o == nil {
			o = d.Waiting
		}
		if o == nil || d.Request != nil {
			t.Errorf("%s: no obstacle: %+v", name, d)
			continue
		}
		for _, want := range row.says {
			if !strings.Contains(o.Message, want) {
				t.Errorf("%s: %q does not say %s", name, o.Message, want)
			}
		}
	}
}

// TestOptInIsTheLabelAlone: what else is set does not matter.
func TestOptInIsTheLabelAlone(t *testing.T) {
	if d := Desire(inputs(func(in *Inputs) { in.OptedIn, in.Settings.UnknownKeys = false, []string{"x"} })); !d.OptedOut || d.Request != nil || d.Blocked != nil {
		t.Errorf("an opted-out pool has %+v", d)
	}
}

func TestRebuildToken(t *testing.T) {
	record := func(config, token string, age time.Duration) Record {
		return Record{RenderedConfig: config, RebuildToken: token, Finished: now.Add(-age)}
	}
	running := func(config, token string) backend.Observation {
		return backend.Observation{RenderedConfig: config, RebuildToken: token, Phase: backend.PhaseRunning}
	}
	going := running(configA, "1")
	going.Deleting = true
	for name, row := range map[string]struct {
		annotation string
		o          Observed
		want       string
	}{
		"never asked":                      {"", Observed{}, ""},
		"asked before the first build":     {"1", Observed{}, "1"},
		"asked after a build":              {"1", Observed{Records: []Record{record(configA, "", 0)}}, "1"},
		"answered":                         {"1", Observed{Records: []Record{record(configA, "1", 0)}}, "1"},
		"asked again":                      {"2", Observed{Records: []Record{record(configA, "1", 0)}}, "2"},
		"removed after the answer":         {"", Observed{Records: []Record{record(configA, "1", 0)}}, "1"},
		"removed while it is answered":     {"", Observed{Builds: []backend.Observation{running(configA, "1")}, Records: []Record{record(configA, "", 0)}}, "1"},
		"removed, the build is going":      {"", Observed{Builds: []backend.Observation{going}}, ""},
		"removed, another config":          {"", Observed{Records: []Record{record(configB, "1", 0)}}, ""},
		"another config, not built yet":    {"1", Observed{Records: []Record{record(configB, "1", 0)}}, "1"},
		"S11: answered by B, back to A":    {"1", Observed{Records: []Record{record(configA, "", time.Hour), record(configB, "1", 0)}}, ""},
		"answered by A, then B, back to A": {"1", Observed{Records: []Record{record(configA, "1", time.Hour), record(configB, "1", 0)}}, "1"},
		"S11: answered by B, back to A, A is built anew": {"1", Observed{Records: []Record{
			{RenderedConfig: configA, RebuildRequest: "1", Finished: now}, record(configB, "1", time.Hour),
		}}, ""},
		"asked again since A was built anew": {"2", Observed{Records: []Record{
			{RenderedConfig: configA, RebuildRequest: "1", Finished: now}, record(configB, "1", time.Hour),
		}}, "2"},
		"asked while at A, B is newer":     {"2", Observed{Records: []Record{record(configA, "", time.Hour), record(configB, "1", 0)}}, "2"},
		"S09: asked again with an old one": {"1", Observed{Records: []Record{record(configA, "1", time.Hour), record(configA, "2", 0)}}, "1"},
	} {
		if got := RebuildToken(row.annotation, configA, row.o); got != row.want {
			t.Errorf("%s: token %q, want %q", name, got, row.want)
		}
	}
}
