package executor

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

func secretKey(name, key string, optional ...bool) *corev1.EnvVarSource {
	ref := &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
	if len(optional) > 0 {
		ref.Optional = &optional[0]
	}
	return &corev1.EnvVarSource{SecretKeyRef: ref}
}

func mapKey(name, key string, optional ...bool) *corev1.EnvVarSource {
	ref := &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key}
	if len(optional) > 0 {
		ref.Optional = &optional[0]
	}
	return &corev1.EnvVarSource{ConfigMapKeyRef: ref}
}

func fieldPath(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
}

func TestEnvironment(t *testing.T) {
	for name, row := range map[string]struct {
		env  []corev1.EnvVar
		want string // NAME=value, in order
		err  string
	}{
		"values":             {[]corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B"}}, "A=1 B=", ""},
		"a reference":        {[]corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "x$(A)y$(A)"}}, "A=1 B=x1y1", ""},
		"to what comes":      {[]corev1.EnvVar{{Name: "B", Value: "$(A)"}, {Name: "A", Value: "1"}}, "B=$(A) A=1", ""},
		"escaped":            {[]corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "$$(A) $$$(A) $A $( $"}}, "A=1 B=$(A) $1 $A $( $", ""},
		"not within another": {[]corev1.EnvVar{{Name: "A", Value: "$$(B)"}, {Name: "B", Value: "1"}, {Name: "C", Value: "$(A)"}}, "A=$(B) B=1 C=$(B)", ""},
		"Secret":             {[]corev1.EnvVar{{Name: "A", ValueFrom: secretKey("s", "key")}, {Name: "B", Value: "$(A)!"}}, "A=value of s B=value of s!", ""},
		"a dollar in it":     {[]corev1.EnvVar{{Name: "A", ValueFrom: secretKey("dollar", "key")}}, "A=$$(A)", ""},
		"ConfigMap":          {[]corev1.EnvVar{{Name: "A", ValueFrom: mapKey("m", "key")}}, "A=value of m", ""},
		"no Secret":          {[]corev1.EnvVar{{Name: "A", ValueFrom: secretKey("x", "key")}}, "", `A: Secret "x" does not exist`},
		"no key":             {[]corev1.EnvVar{{Name: "A", ValueFrom: mapKey("m", "x")}}, "", `A: ConfigMap "m" has no key "x"`},
		"optional":           {[]corev1.EnvVar{{Name: "A", ValueFrom: secretKey("x", "key", true)}, {Name: "B", ValueFrom: secretKey("s", "x", true)}, {Name: "C", ValueFrom: mapKey("x", "key", true)}, {Name: "D", Value: "$(A)"}}, "D=$(A)", ""},
		"not optional":       {[]corev1.EnvVar{{Name: "A", ValueFrom: mapKey("x", "key", false)}}, "", `A: ConfigMap "x" does not exist`},
		"fields":             {[]corev1.EnvVar{{Name: "A", ValueFrom: fieldPath("metadata.name")}, {Name: "B", ValueFrom: fieldPath("metadata.namespace")}, {Name: "C", ValueFrom: fieldPath("metadata.uid")}}, "A=app-1 B=team C=uid-of-build", ""},
		"labels":             {[]corev1.EnvVar{{Name: "A", ValueFrom: fieldPath("metadata.labels['app']")}, {Name: "B", ValueFrom: fieldPath("metadata.labels")}, {Name: "C", ValueFrom: fieldPath("metadata.labels['x']")}}, `A=app B=app="app" C=`, ""},
		"annotations":        {[]corev1.EnvVar{{Name: "A", ValueFrom: fieldPath("metadata.annotations['note']")}, {Name: "B", ValueFrom: fieldPath("metadata.annotations")}}, `A=a "b" B=note="a \"b\""`, ""},
		"no such field":      {[]corev1.EnvVar{{Name: "A", ValueFrom: fieldPath("status.podIP")}}, "", `A: field "status.podIP" of a Build cannot be used`},
		"every problem":      {[]corev1.EnvVar{{Name: "A", ValueFrom: secretKey("x", "key")}, {Name: "B", ValueFrom: secretKey("y", "key")}}, "", `A: Secret "x" does not exist; B: Secret "y" does not exist`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBuild(func(b *buildv1.Build) { b.Spec.Strategy.DockerStrategy.Env = row.env })
			w := World{Secrets: secrets("s"), ConfigMaps: configMaps("m")}
			w.Secrets["dollar"] = &corev1.Secret{Data: map[string][]byte{"key": []byte("$$(A)")}}
			plan := Next(b, w, now)
			if row.err != "" {
				if s := plan.Status; s.Phase != "Error" || s.Reason != "UnresolvableEnvironmentVariable" || !strings.Contains(s.Message, row.err) {
					t.Errorf("status %+v, want %q", s, row.err)
				}
				return
			}
			var got []string
			for _, e := range plan.CreatePod.Spec.Strategy.DockerStrategy.Env {
				got = append(got, e.Name+"="+e.Value)
			}
			if diff := cmp.Diff(row.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("environment:\n%s", diff)
			}
		})
	}
}

// TestAsSeen: a pod learns what it needs of its Build.
func TestAsSeen(t *testing.T) {
	b := newBuild(func(b *buildv1.Build) {
		b.Status = buildv1.BuildStatus{Phase: "New", Reason: "GenericBuildFailed", Message: "These resources do not exist: Secrets [s]"}
		b.Annotations[corev1.LastAppliedConfigAnnotation] = "all of it once more"
		b.Spec.Strategy.DockerStrategy.BuildArgs = []corev1.EnvVar{{Name: "A", Value: "1", ValueFrom: secretKey("s", "key")}}
	})
	got := Next(b, World{}, now).CreatePod
	want := newBuild(func(b *buildv1.Build) {
		b.APIVersion, b.Kind = "build.openshift.io/v1", "Build"
		b.Spec.Strategy.DockerStrategy.BuildArgs = []corev1.EnvVar{{Name: "A", Value: "1"}}
		b.Status.OutputDockerImageReference = pullspec
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the Build as its pod sees it:\n%s", diff)
	}
}

func TestNeeds(t *testing.T) {
	everything := func(b *buildv1.Build) {
		ref := func(name string) *corev1.LocalObjectReference { return &corev1.LocalObjectReference{Name: name} }
		yes := true
		b.Spec.Source.SourceSecret = ref("source")
		b.Spec.Source.Images = []buildv1.ImageSource{{
			From: corev1.ObjectReference{Kind: "DockerImage", Name: "registry.example.com/tools:1"}, PullSecret: ref("image"),
			Paths: []buildv1.ImageSourcePath{{SourcePath: "/a", DestinationDir: "a"}},
		}}
		b.Spec.Source.Secrets = []buildv1.SecretBuildSource{{Secret: *ref("input")}}
		b.Spec.Source.ConfigMaps = []buildv1.ConfigMapBuildSource{{ConfigMap: *ref("map")}}
		b.Spec.Output.PushSecret = ref("push")
		s := b.Spec.Strategy.DockerStrategy
		s.PullSecret = ref("pull")
		s.Env = []corev1.EnvVar{{Name: "A", ValueFrom: secretKey("input", "key")}, {Name: "B", ValueFrom: mapKey("env", "key", true)}}
		s.Volumes = []buildv1.BuildVolume{
			{Name: "a", Source: buildv1.BuildVolumeSource{Type: "Secret", Secret: &corev1.SecretVolumeSource{SecretName: "volume"}}, Mounts: []buildv1.BuildVolumeMount{{DestinationPath: "/a"}}},
			{Name: "b", Source: buildv1.BuildVolumeSource{Type: "Secret", Secret: &corev1.SecretVolumeSource{SecretName: "optional", Optional: &yes}}, Mounts: []buildv1.BuildVolumeMount{{DestinationPath: "/b"}}},
			{Name: "c", Source: buildv1.BuildVolumeSource{Type: "ConfigMap", ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: *ref("volume-map")}}, Mounts: []buildv1.BuildVolumeMount{{DestinationPath: "/c"}}},
		}
	}
	if problems := validate(newBuild(everything)); len(problems) > 0 {
		t.Fatal(problems)
	}
	all := References{
		Secrets:    []string{"image", "input", "pull", "push", "source", "volume"},
		ConfigMaps: []string{"env", "map", api.ConfigMapRegistries, "volume-map"},
	}
	for name, row := range map[string]struct {
		build *buildv1.Build
		pod   *corev1.Pod
		want  References
	}{
		"to begin":                 {newBuild(everything), nil, all},
		"while it waits":           {newBuild(everything, phase("Pending")), newPod(corev1.PodPending), References{Secrets: []string{"push"}}},
		"while it runs":            {newBuild(everything, running), newPod(corev1.PodRunning), References{}},
		"at the end":               {newBuild(everything, phase("Complete")), nil, References{}},
		"to cancel":                {newBuild(everything, cancelled), nil, References{}},
		"of one that is not valid": {newBuild(everything, func(b *buildv1.Build) { b.Spec.Source.Secrets[0].Secret.Name = "a/b" }), nil, References{}},
		"of a small one":           {newBuild(), nil, References{ConfigMaps: []string{api.ConfigMapRegistries}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, Needs(row.build, row.pod)); diff != "" {
				t.Errorf("needs:\n%s", diff)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		want := "These resources do not exist: ConfigMaps [map, volume-map] Secrets [image, input, pull, source, volume]"
		if got := missing(newBuild(everything), World{}); got != want {
			t.Errorf("message %q", got)
		}
	})
}
