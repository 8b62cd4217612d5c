package executor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestValidate(t *testing.T) {
	image := func(kind, name string) corev1.ObjectReference { return corev1.ObjectReference{Kind: kind, Name: name} }
	source := func(change func(*buildv1.BuildSource)) func(*buildv1.Build) {
		return func(b *buildv1.Build) { change(&b.Spec.Source) }
	}
	docker := func(change func(*buildv1.DockerBuildStrategy)) func(*buildv1.Build) {
		return func(b *buildv1.Build) { change(b.Spec.Strategy.DockerStrategy) }
	}
	s2i := func(b *buildv1.Build) {
		b.Spec.Strategy = buildv1.BuildStrategy{SourceStrategy: &buildv1.SourceBuildStrategy{From: image("DockerImage", "quay.io/centos7/httpd-24-centos7")}}
	}
	git := func(uri string) func(*buildv1.Build) {
		return source(func(s *buildv1.BuildSource) { s.Git = &buildv1.GitBuildSource{URI: uri} })
	}
	volume := func(v buildv1.BuildVolume) func(*buildv1.Build) {
		return docker(func(s *buildv1.DockerBuildStrategy) { s.Volumes = append(s.Volumes, v) })
	}
	mounted := func(paths ...string) buildv1.BuildVolume {
		v := buildv1.BuildVolume{Name: "v", Source: buildv1.BuildVolumeSource{Type: "Secret", Secret: &corev1.SecretVolumeSource{SecretName: "s"}}}
		for _, p := range paths {
			v.Mounts = append(v.Mounts, buildv1.BuildVolumeMount{DestinationPath: p})
		}
		return v
	}
	text := func(s string) *string { return &s }
	policy := func(p buildv1.ImageOptimizationPolicy) func(*buildv1.Build) {
		return docker(func(s *buildv1.DockerBuildStrategy) { s.ImageOptimizationPolicy = &p })
	}
	deadline := func(d int64) func(*buildv1.Build) {
		return func(b *buildv1.Build) { b.Spec.CompletionDeadlineSeconds = &d }
	}
	images := func(all ...buildv1.ImageSource) func(*buildv1.Build) {
		return source(func(s *buildv1.BuildSource) { s.Images = all })
	}
	content := buildv1.ImageSourcePath{SourcePath: "/usr/lib/.", DestinationDir: "lib"}
	for name, row := range map[string]struct {
		build *buildv1.Build
		want  string // fields with the begin of what is said, in order; "" for a valid one
	}{
		"Dockerfile":        {newBuild(), ""},
		"nothing at all":    {&buildv1.Build{}, "spec.strategy: must provide a value for exactly one of sourceStrategy, customStrategy, dockerStrategy, or jenkinsPipelineStrategy"},
		"Docker of nothing": {newBuild(source(func(s *buildv1.BuildSource) { s.Dockerfile = nil })), "spec.source: must provide a value for at least one of git, binary, dockerfile, images"},
		"Docker of a ConfigMap": {newBuild(source(func(s *buildv1.BuildSource) {
			s.Dockerfile, s.ConfigMaps = nil, []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "m"}}}
		})), "spec.source: must provide a value for at least one of git, binary, dockerfile, images"},
		"S2I of nothing": {newBuild(s2i, source(func(s *buildv1.BuildSource) { *s = buildv1.BuildSource{Type: buildv1.BuildSourceNone} })), ""},
		"S2I of a ConfigMap": {newBuild(s2i, source(func(s *buildv1.BuildSource) {
			*s = buildv1.BuildSource{ConfigMaps: []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "m"}}}}
		})), ""},
		"two strategies": {newBuild(func(b *buildv1.Build) { b.Spec.Strategy.SourceStrategy = &buildv1.SourceBuildStrategy{} }), "spec.strategy: must provide a value for exactly one of"},
		"custom": {newBuild(func(b *buildv1.Build) {
			b.Spec.Strategy = buildv1.BuildStrategy{CustomStrategy: &buildv1.CustomBuildStrategy{}}
		}), "spec.strategy.customStrategy: an image that builds by itself would"},
		"jenkins": {newBuild(func(b *buildv1.Build) {
			b.Spec.Strategy = buildv1.BuildStrategy{JenkinsPipelineStrategy: &buildv1.JenkinsPipelineBuildStrategy{}}
		}), "spec.strategy.jenkinsPipelineStrategy: there is no Jenkins here"},
		"binary":               {newBuild(source(func(s *buildv1.BuildSource) { s.Binary = &buildv1.BinaryBuildSource{} })), "spec.source.binary: nobody here takes the upload"},
		"git and binary":       {newBuild(git("https://a/b"), source(func(s *buildv1.BuildSource) { s.Binary = &buildv1.BinaryBuildSource{} })), "spec.source: must provide a value for one of git and binary|spec.source.binary: "},
		"S2I":                  {newBuild(s2i, git("https://github.com/a/b.git")), ""},
		"S2I of an image":      {newBuild(s2i, func(b *buildv1.Build) { b.Spec.Strategy.SourceStrategy.From = corev1.ObjectReference{} }), "spec.strategy.sourceStrategy.from.kind: use DockerImage"},
		"git by https":         {newBuild(git("https://user@git.example.com:8443/a/b.git")), ""},
		"git by ssh":           {newBuild(git("ssh://git@git.example.com:2222/a/b.git")), ""},
		"git by scp form":      {newBuild(git("git@git.example.com:a/b.git")), ""},
		"git by scp, absolute": {newBuild(git("git@git.example.com:/srv/b.git")), ""},
		"git without a URI":    {newBuild(git("")), "spec.source.git.uri: is required; use https://host/path"},
		"git by an option":     {newBuild(git("--upload-pack=touch /x")), "spec.source.git.uri: must not begin with a dash"},
		"git by a host option": {newBuild(git("ssh://-oProxyCommand=x/a")), "spec.source.git.uri: names no host"},
		"git by a path":        {newBuild(git("/srv/git/b.git")), "spec.source.git.uri: cannot be reached from a pod"},
		"git by a file":        {newBuild(git("file:///srv/git/b.git")), "spec.source.git.uri: cannot be reached from a pod"},
		"git by a program":     {newBuild(git("ext::sh -c x")), "spec.source.git.uri: cannot be reached from a pod"},
		"git by git+ssh":       {newBuild(git("git+ssh://git@git.example.com/b.git")), "spec.source.git.uri: cannot be reached from a pod"},
		"git with a password":  {newBuild(git("ssh://git:hunter2@git.example.com/b.git")), "spec.source.git.uri: has a password, which ssh does not use"},
		"git of no host":       {newBuild(git("https:///b.git")), "spec.source.git.uri: names no host"},
		"git of bad escapes":   {newBuild(git("https://a/%zz")), "spec.source.git.uri: is no URL"},
		"ref like an option":   {newBuild(git("https://a/b"), source(func(s *buildv1.BuildSource) { s.Git.Ref = "--orphan" })), "spec.source.git.ref: must not begin with a dash"},
		"proxies of git": {newBuild(git("https://a/b"), source(func(s *buildv1.BuildSource) {
			s.Git.HTTPProxy, s.Git.HTTPSProxy = text("http://p:3128"), text("http://")
		})), "spec.source.git.httpsProxy: is no URL"},
		"a long Dockerfile":  {newBuild(source(func(s *buildv1.BuildSource) { s.Dockerfile = text(strings.Repeat("x", 60001)) })), "spec.source.dockerfile: may not be more than 60000 bytes"},
		"as long as may be":  {newBuild(source(func(s *buildv1.BuildSource) { s.Dockerfile = text(strings.Repeat("x", 60000)) })), ""},
		"contextDir":         {newBuild(source(func(s *buildv1.BuildSource) { s.ContextDir = "a/../b" })), ""},
		"contextDir outside": {newBuild(source(func(s *buildv1.BuildSource) { s.ContextDir = "a/../../b" })), "spec.source.contextDir: must lie within the source"},
		"sourceSecret":       {newBuild(source(func(s *buildv1.BuildSource) { s.SourceSecret = &corev1.LocalObjectReference{} })), "spec.source.sourceSecret.name: the object's name"},
		"Secrets": {newBuild(source(func(s *buildv1.BuildSource) {
			s.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "s"}, DestinationDir: "x"}}
		})), ""},
		"Secrets wrong": {newBuild(source(func(s *buildv1.BuildSource) {
			s.Secrets = []buildv1.SecretBuildSource{{DestinationDir: "../x"}, {Secret: corev1.LocalObjectReference{Name: "s"}, DestinationDir: "/x"}}
		})), "spec.source.secrets[0].secret.name: |spec.source.secrets[0].destinationDir: must lie within|spec.source.secrets[1].destinationDir: must be relative"},
		"ConfigMaps wrong": {newBuild(source(func(s *buildv1.BuildSource) {
			s.ConfigMaps = []buildv1.ConfigMapBuildSource{{ConfigMap: corev1.LocalObjectReference{Name: "A_B"}, DestinationDir: ".."}}
		})), "spec.source.configMaps[0].configMap.name: a lowercase RFC 1123 subdomain|spec.source.configMaps[0].destinationDir: must lie within"},
		"S2I, absolute": {newBuild(s2i, source(func(s *buildv1.BuildSource) {
			s.Secrets = []buildv1.SecretBuildSource{{Secret: corev1.LocalObjectReference{Name: "s"}, DestinationDir: "/x"}}
		})), ""},
		"images":                {newBuild(images(buildv1.ImageSource{From: image("DockerImage", "a/b"), Paths: []buildv1.ImageSourcePath{content}, As: []string{"x"}})), ""},
		"images for nothing":    {newBuild(images(buildv1.ImageSource{From: image("DockerImage", "a/b")})), "spec.source.images[0].paths: paths to copy"},
		"images, paths":         {newBuild(images(buildv1.ImageSource{From: image("DockerImage", "a/b"), Paths: []buildv1.ImageSourcePath{{SourcePath: "usr", DestinationDir: "/x"}, {SourcePath: "/usr", DestinationDir: "../x"}}})), "spec.source.images[0].paths[0].sourcePath: must be an absolute|spec.source.images[0].paths[0].destinationDir: must be a relative|spec.source.images[0].paths[1].destinationDir: must be a relative"},
		"images, nowhere":       {newBuild(images(buildv1.ImageSource{From: image("DockerImage", "a/b"), Paths: []buildv1.ImageSourcePath{{SourcePath: "/usr"}, {SourcePath: "/usr", DestinationDir: "."}}})), "spec.source.images[0].paths[0].destinationDir: where the files go; use . for the root of the source"},
		"images of a namespace": {newBuild(images(buildv1.ImageSource{From: corev1.ObjectReference{Kind: "DockerImage", Name: "a/b", Namespace: "n"}, As: []string{"x"}})), "spec.source.images[0].from.namespace: not valid beside kind DockerImage"},
		"images, a name twice":  {newBuild(images(buildv1.ImageSource{From: image("DockerImage", "a/b"), As: []string{"x"}}, buildv1.ImageSource{From: image("DockerImage", "a/c"), As: []string{"x", ""}})), "spec.source.images[1].as[0]: |spec.source.images[1].as[1]: the name"},
		"images of a stream":    {newBuild(images(buildv1.ImageSource{From: image("ImageStreamTag", "b:1"), As: []string{"x"}})), "spec.source.images[0].from.kind: source.images[0].from.kind ImageStreamTag needs the OpenShift image registry; use kind DockerImage"},
		"no output":             {newBuild(func(b *buildv1.Build) { b.Spec.Output.To = nil }), ""},
		"output of no kind":     {newBuild(func(b *buildv1.Build) { b.Spec.Output.To.Kind = "" }), "spec.output.to.kind: use DockerImage"},
		"output of a kind":      {newBuild(func(b *buildv1.Build) { b.Spec.Output.To.Kind = "Pod" }), "spec.output.to.kind: supported values"},
		"output of no name":     {newBuild(func(b *buildv1.Build) { b.Spec.Output.To.Name = "" }), "spec.output.to.name: the image's pullspec"},
		"output in a namespace": {newBuild(func(b *buildv1.Build) { b.Spec.Output.To.Namespace = "n" }), "spec.output.to.namespace: not valid beside kind DockerImage"},
		"output of a bad name":  {newBuild(func(b *buildv1.Build) { b.Spec.Output.To.Name = "A B" }), `spec.output.to.name: "A B" is no pullspec`},
		"output by digest":      {newBuild(func(b *buildv1.Build) { b.Spec.Output.To.Name = "quay.io/a/b@" + digest }), "spec.output.to.name: has a digest"},
		"push Secret":           {newBuild(func(b *buildv1.Build) { b.Spec.Output.PushSecret = &corev1.LocalObjectReference{} }), "spec.output.pushSecret.name: "},
		"image labels": {newBuild(func(b *buildv1.Build) {
			b.Spec.Output.ImageLabels = []buildv1.ImageLabel{{Name: "io.k8s/a-b"}, {Name: "c"}}
		}), ""},
		"image labels wrong": {newBuild(func(b *buildv1.Build) {
			b.Spec.Output.ImageLabels = []buildv1.ImageLabel{{}, {Name: "a b"}, {Name: "c"}, {Name: "c"}}
		}), "spec.output.imageLabels[0].name: the key|spec.output.imageLabels[1].name: must consist of|spec.output.imageLabels[3].name: "},
		"from":                {newBuild(docker(func(s *buildv1.DockerBuildStrategy) { f := image("DockerImage", "a/b"); s.From = &f })), ""},
		"dockerfilePath":      {newBuild(docker(func(s *buildv1.DockerBuildStrategy) { s.DockerfilePath = "../Dockerfile" })), "spec.strategy.dockerStrategy.dockerfilePath: must be a relative path within"},
		"absolute":            {newBuild(docker(func(s *buildv1.DockerBuildStrategy) { s.DockerfilePath = "/Dockerfile" })), "spec.strategy.dockerStrategy.dockerfilePath: must be a relative path within"},
		"a policy":            {newBuild(policy("SkipLayers")), ""},
		"no policy":           {newBuild(policy("Squash")), `spec.strategy.dockerStrategy.imageOptimizationPolicy: supported values: "None", "SkipLayers", "SkipLayersAndWarn"`},
		"deadline":            {newBuild(deadline(1)), ""},
		"deadline of nothing": {newBuild(deadline(0)), "spec.completionDeadlineSeconds: must be a positive number"},
		"environment": {newBuild(docker(func(s *buildv1.DockerBuildStrategy) {
			s.Env = []corev1.EnvVar{{Name: "A", ValueFrom: secretKey("s", "key")}}
		})), ""},
		"environment, names": {newBuild(docker(func(s *buildv1.DockerBuildStrategy) {
			s.Env = []corev1.EnvVar{{}, {Name: "a=b"}}
			s.BuildArgs = []corev1.EnvVar{{Name: ""}}
		})), "spec.strategy.dockerStrategy.env[0].name: |spec.strategy.dockerStrategy.env[1].name: a valid environment variable name|spec.strategy.dockerStrategy.buildArgs[0].name: "},
		"environment, sources": {newBuild(docker(func(s *buildv1.DockerBuildStrategy) {
			s.Env = []corev1.EnvVar{{Name: "A", Value: "1", ValueFrom: fieldPath("metadata.name")}, {Name: "B", ValueFrom: &corev1.EnvVarSource{}}, {Name: "C", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{}}}}
		})), "spec.strategy.dockerStrategy.env[0].valueFrom: may not be|spec.strategy.dockerStrategy.env[1].valueFrom: must have exactly one|spec.strategy.dockerStrategy.env[2].valueFrom.resourceFieldRef: "},
		"hook": {newBuild(func(b *buildv1.Build) {
			b.Spec.PostCommit = buildv1.BuildPostCommitSpec{Script: "test", Args: []string{"a"}}
		}), ""},
		"hook of two forms": {newBuild(func(b *buildv1.Build) {
			b.Spec.PostCommit = buildv1.BuildPostCommitSpec{Script: "test", Command: []string{"a"}}
		}), "spec.postCommit: must have script or command"},
		"volume":                {newBuild(volume(mounted("/etc/x", "/etc/y"))), ""},
		"volume twice":          {newBuild(volume(mounted("/etc/x")), volume(mounted("/etc/x"))), "spec.strategy.dockerStrategy.volumes[1].name: |spec.strategy.dockerStrategy.volumes[1].mounts[0].destinationPath: "},
		"volume, not mounted":   {newBuild(volume(mounted())), "spec.strategy.dockerStrategy.volumes[0].mounts: "},
		"volume, where":         {newBuild(volume(mounted("x", "/", "/a:b", "/a/../b"))), "spec.strategy.dockerStrategy.volumes[0].mounts[0].destinationPath: must be an absolute|spec.strategy.dockerStrategy.volumes[0].mounts[1].destinationPath: must be an absolute|spec.strategy.dockerStrategy.volumes[0].mounts[2].destinationPath: must not contain|spec.strategy.dockerStrategy.volumes[0].mounts[3].destinationPath: must not contain"},
		"volume of nothing":     {newBuild(volume(buildv1.BuildVolume{Name: "V", Mounts: mounted("/x").Mounts})), "spec.strategy.dockerStrategy.volumes[0].name: a lowercase|spec.strategy.dockerStrategy.volumes[0].source: must have exactly one"},
		"volume of another":     {newBuild(volume(buildv1.BuildVolume{Name: "v", Source: buildv1.BuildVolumeSource{Type: "ConfigMap", Secret: &corev1.SecretVolumeSource{SecretName: "s"}}, Mounts: mounted("/x").Mounts})), "spec.strategy.dockerStrategy.volumes[0].source.type: is not what is given"},
		"volume without a name": {newBuild(volume(buildv1.BuildVolume{Name: "v", Source: buildv1.BuildVolumeSource{Type: "CSI", CSI: &corev1.CSIVolumeSource{}}, Mounts: mounted("/x").Mounts})), "spec.strategy.dockerStrategy.volumes[0].source: the name of"},
	} {
		t.Run(name, func(t *testing.T) {
			var wants []string
			if row.want != "" {
				wants = strings.Split(row.want, "|")
			}
			var got []string
			for i, e := range validate(row.build) {
				text := e.Field + ": " + e.Detail
				if i < len(wants) && strings.HasPrefix(text, wants[i]) {
					text = wants[i]
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(wants, got); diff != "" {
				t.Errorf("problems (-want +have):\n%s", diff)
			}
		})
	}
}
