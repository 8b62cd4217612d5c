package buildpod

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

func TestLimits(t *testing.T) {
	for name, row := range map[string]struct{ resources, want, volumes string }{
		"nothing set":             {`{}`, `{requests: {cpu: 100m, memory: 128Mi}}`, "20Gi"},
		"requests set":            {`{requests: {cpu: "2"}}`, `{requests: {cpu: "2", memory: 128Mi}}`, "20Gi"},
		"a limit is a request":    {`{limits: {memory: 64Mi}}`, `{limits: {memory: 64Mi}, requests: {cpu: 100m}}`, "20Gi"},
		"S24: a limit of storage": {`{limits: {ephemeral-storage: 3Gi}}`, `{limits: {ephemeral-storage: 3Gi}, requests: {cpu: 100m, memory: 128Mi}}`, "3Gi"},
		"a request of storage":    {`{requests: {ephemeral-storage: 3Gi}}`, `{requests: {ephemeral-storage: 3Gi, cpu: 100m, memory: 128Mi}}`, "20Gi"},
	} {
		t.Run(name, func(t *testing.T) {
			given, want := resources(t, row.resources), resources(t, row.want)
			for _, kind := range []func(*buildspec.Request){func(*buildspec.Request) {}, custom} {
				p := New(request(kind, func(r *buildspec.Request) { r.Scheduling.Resources = given }))
				for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
					if diff := cmp.Diff(want, c.Resources); diff != "" {
						t.Errorf("container %s (-want +have):\n%s", c.Name, diff)
					}
				}
				for _, v := range p.Spec.Volumes {
					if v.EmptyDir != nil && (v.EmptyDir.SizeLimit == nil || v.EmptyDir.SizeLimit.String() != row.volumes) {
						t.Errorf("volume %s is limited to %v, want %s", v.Name, v.EmptyDir.SizeLimit, row.volumes)
					}
				}
			}
			if diff := cmp.Diff(resources(t, row.resources), given); diff != "" {
				t.Errorf("the settings were changed:\n%s", diff)
			}
		})
	}
}

func resources(t *testing.T, text string) (r corev1.ResourceRequirements) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return r
}
