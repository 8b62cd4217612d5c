package manifests

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const builds = "manifests/builds"

// TestBuildDefinition: what `get builds` shows, a status of its own, and no field that
// a client's Build may lack.
func TestBuildDefinition(t *testing.T) {
	objects := build(t, builds+"/crd")
	if len(objects) != 1 {
		t.Fatalf("%d objects", len(objects))
	}
	var got definition
	if err := yaml.Unmarshal(objects[0], &got); err != nil {
		t.Fatal(err)
	}
	version := got.Spec.Versions[0]
	var columns []string
	for _, c := range version.AdditionalPrinterColumns {
		columns = append(columns, c.Name)
	}
	if want := "Type From Status Started Duration"; !strings.HasPrefix(strings.Join(columns, " "), want) {
		t.Errorf("columns %q, want %s", columns, want)
	}
	if _, status := version.Subresources["status"]; !status || got.Spec.Scope != "Namespaced" || got.Metadata.Name != "builds.build.openshift.io" || len(got.Spec.Versions) != 1 || version.Name != "v1" {
		t.Errorf("definition %+v", got.Metadata)
	}
	for _, path := range [][]string{{"spec", "strategy", "dockerStrategy"}, {"spec", "strategy", "sourceStrategy"}, {"spec", "source", "git"}, {"status", "output", "to"}} {
		if at(version.Schema.OpenAPIV3Schema, path).Type != "object" {
			t.Errorf("it has no %q", path)
		}
	}
	if text := string(objects[0]); strings.Contains(text, "enum:") || strings.Contains(text, "- phase") {
		t.Error("it asks for a phase, or for one of some values")
	}
}

// TestExecutor: what it may do is listed whole here.
func TestExecutor(t *testing.T) {
	var rights []string
	for _, object := range build(t, builds) {
		if kind := kindOf(t, object); kind != "Role" && kind != "ClusterRole" {
			continue
		}
		var role rbacv1.ClusterRole // a Role has the same fields
		decode(t, object, &role)
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				rights = append(rights, strings.TrimSpace(strings.Join([]string{role.Kind, strings.Join(rule.Verbs, ","), resource, strings.Join(rule.ResourceNames, ",")}, " ")))
			}
		}
	}
	slices.Sort(rights)
	want := []string{
		"ClusterRole create,patch events",
		"ClusterRole get apiservices v1.build.openshift.io",
		"ClusterRole get configmaps",
		"ClusterRole get customresourcedefinitions builds.build.openshift.io",
		"ClusterRole get secrets",
		"ClusterRole get,list,watch,create,delete pods",
		"ClusterRole get,list,watch,patch builds",
		"ClusterRole update builds/finalizers",
		"ClusterRole update builds/status",
		"Role create leases",
		"Role get,update leases build-executor",
	}
	if !slices.Equal(rights, want) {
		t.Errorf("rights\n%s\nwant\n%s", strings.Join(rights, "\n"), strings.Join(want, "\n"))
	}
	spec := deploymentOf(t, builds).Spec.Template.Spec
	for _, violation := range restrictedViolations(spec) {
		t.Error(violation)
	}
	command := exec.CommandContext(t.Context(), "go", append(append([]string{"run", "./cmd/build-executor"}, spec.Containers[0].Args...), "--version")...)
	command.Dir = root
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("its flags are refused: %v\n%s", err, out)
	}
}
