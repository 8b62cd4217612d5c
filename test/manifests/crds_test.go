package manifests

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// A definition is the part of a CustomResourceDefinition that the test looks at.
type definition struct {
	Metadata struct{ Name string }
	Spec     struct {
		Scope string
		Names struct {
			Kind       string
			ShortNames []string
		}
		Versions []struct {
			Name                     string
			Served, Storage          bool
			Subresources             map[string]any
			AdditionalPrinterColumns []struct{ Name string }
			Schema                   struct{ OpenAPIV3Schema property }
		}
	}
}

type property struct {
	Type                  string
	Properties            map[string]property
	PreserveUnknownFields bool `json:"x-kubernetes-preserve-unknown-fields"`
}

func TestDefinitions(t *testing.T) {
	want := map[string]struct {
		short     string
		columns   int
		status    bool
		preserved []string // the field that holds what users write
	}{
		"machineconfigs":     {short: "mc", columns: 3, preserved: []string{"spec", "config"}},
		"machineconfigpools": {short: "mcp", columns: 9, status: true},
		"controllerconfigs":  {status: true},
	}
	seen := map[string]bool{}
	for _, object := range build(t, "manifests/crds") {
		var got definition
		if err := yaml.Unmarshal(object, &got); err != nil {
			t.Fatalf("decoding definition: %v", err)
		}
		plural, _, _ := strings.Cut(got.Metadata.Name, ".")
		expected, known := want[plural]
		if !known || len(got.Spec.Versions) != 1 {
			t.Errorf("unexpected definition %s with %d versions", got.Metadata.Name, len(got.Spec.Versions))
			continue
		}
		seen[plural] = true
		t.Run(plural, func(t *testing.T) {
			version := got.Spec.Versions[0]
			if version.Name != "v1" || !version.Served || !version.Storage || got.Spec.Scope != "Cluster" {
				t.Errorf("serves version %+v in scope %s", version.Name, got.Spec.Scope)
			}
			if short := got.Spec.Names.ShortNames; expected.short != "" && (len(short) != 1 || short[0] != expected.short) {
				t.Errorf("has short names %v, want %s", short, expected.short)
			}
			if n := len(version.AdditionalPrinterColumns); n != expected.columns {
				t.Errorf("has %d printer columns, want %d", n, expected.columns)
			}
			if _, status := version.Subresources["status"]; status != expected.status {
				t.Errorf("has a status subresource: %v, want %v", status, expected.status)
			}
			if expected.preserved != nil && !at(version.Schema.OpenAPIV3Schema, expected.preserved).PreserveUnknownFields {
				t.Errorf("prunes unknown fields in %v", expected.preserved)
			}
			if version.Schema.OpenAPIV3Schema.Type != "object" {
				t.Errorf("has no structural schema")
			}
		})
	}
	for plural := range want {
		if !seen[plural] {
			t.Errorf("no definition of %s", plural)
		}
	}
}

func at(schema property, path []string) property {
	for _, name := range path {
		schema = schema.Properties[name]
	}
	return schema
}
