package openshiftbuild

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestBuildGolden: the whole Build, and the Dockerfile in it.
func TestBuildGolden(t *testing.T) {
	for name, row := range map[string]struct {
		request buildspec.Request
		given   []string
	}{
		"full": {request(), []string{"entitlement", "rpm-gpg", "user-ca", "yum-repos"}},
		"plain": {buildspec.Request{
			ID: "v1-0", Attempt: 1, RenderedConfig: config, Builder: request().Builder, MachineConfig: buildspec.Payload{Chunks: []string{"a"}, SHA256: "0"},
			Dockerfile:   "FROM registry.example.com/base:1 AS configs\nADD machine-config.tar /\nFROM configs AS final\n",
			BuilderImage: "registry.example.com/builder:1", FinalImage: "registry.example.com/os:1",
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if row.request.Dockerfile, err = render(row.request); err != nil {
				t.Fatal(err)
			}
			got, err := yaml.Marshal(run(row.request, inputs.Root(row.request), row.given))
			if err != nil {
				t.Fatal(err)
			}
			golden := "testdata/" + name + ".yaml"
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("Build (-want +got):\n%s", diff)
			}
		})
	}
}
