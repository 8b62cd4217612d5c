package manifests

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const (
	root      = "../.."
	namespace = "openshift-machine-config-operator"
)

var overlays = []string{"manifests/overlays/kubernetes", "manifests/overlays/openshift"}

// TestOneObjectPerFile also wants each file to be named by its folder's kustomization.
func TestOneObjectPerFile(t *testing.T) {
	for _, file := range manifestFiles(t) {
		t.Run(file, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				t.Fatal(err)
			}
			if filepath.Base(file) == "kustomization.yaml" {
				build(t, filepath.Dir(file))
				return
			}
			if objects := split(text); len(objects) != 1 {
				t.Errorf("has %d objects, want 1", len(objects))
			}
			kustomization, err := os.ReadFile(filepath.Join(root, filepath.Dir(file), "kustomization.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(kustomization, []byte(filepath.Base(file)+"\n")) {
				t.Errorf("is not part of the kustomization in its folder")
			}
		})
	}
}

func TestOverlayObjects(t *testing.T) {
	for overlay, want := range map[string]map[string]int{
		"manifests/overlays/kubernetes": {"Namespace": 1, "CustomResourceDefinition": 3, "Deployment": 1, "ServiceAccount": 1, "SecurityContextConstraints": 0},
		"manifests/overlays/openshift":  {"Namespace": 0, "CustomResourceDefinition": 0, "Deployment": 1, "ServiceAccount": 1, "SecurityContextConstraints": 1},
	} {
		t.Run(overlay, func(t *testing.T) {
			got := map[string]int{}
			for _, object := range build(t, overlay) {
				got[kindOf(t, object)]++
			}
			for kind, number := range want {
				if got[kind] != number {
					t.Errorf("has %d of kind %s, want %d", got[kind], kind, number)
				}
			}
		})
	}
}

func TestRolesHaveNoWildcards(t *testing.T) {
	for _, overlay := range overlays {
		roles := 0
		for _, object := range build(t, overlay) {
			if kind := kindOf(t, object); kind != "Role" && kind != "ClusterRole" {
				continue
			}
			roles++
			var role rbacv1.ClusterRole // a Role has the same fields
			decode(t, object, &role)
			for _, rule := range role.Rules {
				for field, values := range map[string][]string{"apiGroups": rule.APIGroups, "resources": rule.Resources, "verbs": rule.Verbs} {
					if slices.ContainsFunc(values, func(value string) bool { return strings.Contains(value, "*") }) {
						t.Errorf("%s: %s %s: wildcard in %s %v", overlay, role.Kind, role.Name, field, values)
					}
				}
				if slices.Contains(rule.Resources, "events") && (role.Kind != "Role" || role.Namespace != "default") {
					t.Errorf("%s: %s %s: events about pools are made in the namespace default only", overlay, role.Kind, role.Name)
				}
				if slices.Contains(rule.Resources, "secrets") && (role.Kind != "Role" || !slices.Equal(rule.Verbs, []string{"get"})) {
					t.Errorf("%s: %s %s: secrets may only be got, in one namespace, not %v", overlay, role.Kind, role.Name, rule.Verbs)
				}
			}
		}
		if roles < 2 {
			t.Errorf("%s: found %d roles, want a Role and a ClusterRole", overlay, roles)
		}
	}
}

func TestDeploymentMeetsRestricted(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			deployment := deploymentOf(t, overlay)
			for _, violation := range restrictedViolations(deployment.Spec.Template.Spec) {
				t.Error(violation)
			}
		})
	}
}

func TestDeployment(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			deployment := deploymentOf(t, overlay)
			if deployment.Namespace != namespace || deployment.Name != "machine-os-builder" {
				t.Errorf("is %s/%s", deployment.Namespace, deployment.Name)
			}
			template := deployment.Spec.Template
			if template.Labels["k8s-app"] != "machine-os-builder" || template.Spec.ServiceAccountName != "machine-os-builder" {
				t.Errorf("pod has labels %v and service account %q", template.Labels, template.Spec.ServiceAccountName)
			}
			container := template.Spec.Containers[0]
			if image := container.Image; !strings.Contains(image, "/machine-os-builder:") {
				t.Errorf("image of the controller is %q", image)
			}
			if image := envValue(container, "BUILDER_IMAGE"); !strings.Contains(image, "/os-image-builder:") {
				t.Errorf("image of the build pods is %q", image)
			}
			if container.LivenessProbe == nil || container.ReadinessProbe == nil {
				t.Errorf("has no liveness or no readiness probe")
			}
			if container.Resources.Requests.Memory().IsZero() || container.Resources.Requests.Cpu().IsZero() || container.Resources.Limits.Memory().IsZero() {
				t.Errorf("has resources %v, want requests and a memory limit", container.Resources)
			}
		})
	}
}

// TestRenderIsOffOnOpenShift: its machine-config-controller renders there.
func TestRenderIsOffOnOpenShift(t *testing.T) {
	for overlay, want := range map[string]bool{"manifests/overlays/kubernetes": true, "manifests/overlays/openshift": false} {
		t.Run(overlay, func(t *testing.T) {
			text := strings.Join(deploymentOf(t, overlay).Spec.Template.Spec.Containers[0].Args, " ")
			if got := strings.Contains(text, "render"); got != want {
				t.Errorf("the loop render is switched on: %t; args %s", got, text)
			}
			var rights []string
			for _, object := range build(t, overlay) {
				if kindOf(t, object) != "ClusterRole" {
					continue
				}
				var role rbacv1.ClusterRole
				if err := yaml.Unmarshal(object, &role); err != nil {
					t.Fatal(err)
				}
				for _, rule := range role.Rules {
					for _, resource := range rule.Resources {
						for _, verb := range rule.Verbs {
							rights = append(rights, verb+" "+resource)
						}
					}
				}
			}
			for _, right := range []string{"create machineconfigs", "delete machineconfigs", "watch nodes"} {
				if got := slices.Contains(rights, right); got != want {
					t.Errorf("may %s: %t", right, got)
				}
			}
		})
	}
}

// TestFlags starts the real program with the Deployment's flags: it refuses those that it does not know.
func TestFlags(t *testing.T) {
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			args := append([]string{"run", "./cmd/machine-os-builder"}, deploymentOf(t, overlay).Spec.Template.Spec.Containers[0].Args...)
			command := exec.CommandContext(t.Context(), "go", append(args, "--version")...)
			command.Dir = root
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("refused: %v\n%s", err, out)
			}
		})
	}
}

func TestNamespacePodSecurity(t *testing.T) {
	for _, object := range build(t, "manifests/namespace") {
		var got corev1.Namespace
		decode(t, object, &got)
		if got.Name != namespace || got.Labels["pod-security.kubernetes.io/enforce"] != "baseline" {
			t.Errorf("namespace %s has labels %v", got.Name, got.Labels)
		}
	}
}

func deploymentOf(t *testing.T, overlay string) appsv1.Deployment {
	t.Helper()
	var deployment appsv1.Deployment
	for _, object := range build(t, overlay) {
		if kindOf(t, object) == "Deployment" {
			decode(t, object, &deployment)
		}
	}
	if len(deployment.Spec.Template.Spec.Containers) != 1 {
		t.Fatalf("found no Deployment with one container in %s", overlay)
	}
	return deployment
}

func envValue(container corev1.Container, name string) string {
	for _, env := range container.Env {
		if env.Name == name {
			return env.Value
		}
	}
	return ""
}

// build returns the objects of one kustomization, as kustomize writes them.
func build(t *testing.T, folder string) [][]byte {
	t.Helper()
	absolute, err := filepath.Abs(filepath.Join(root, folder))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "-C", filepath.Join(root, "test/tools"), "tool", "kustomize", "build", absolute)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("building %s: %v\n%s", folder, err, stderr.String())
	}
	return split(out)
}

// split cuts a stream into its documents and drops empty ones.
func split(text []byte) [][]byte {
	var objects [][]byte
	for _, object := range bytes.Split(text, []byte("\n---\n")) {
		if len(bytes.TrimSpace(object)) > 0 {
			objects = append(objects, object)
		}
	}
	return objects
}

func kindOf(t *testing.T, object []byte) string {
	t.Helper()
	var meta metav1.TypeMeta
	if err := yaml.Unmarshal(object, &meta); err != nil {
		t.Fatalf("decoding kind: %v", err)
	}
	return meta.Kind
}

// decode refuses fields that the type does not have: an API server would drop a misspelt one and say nothing.
func decode(t *testing.T, object []byte, into any) {
	t.Helper()
	if err := yaml.UnmarshalStrict(object, into); err != nil {
		t.Fatalf("decoding object: %v", err)
	}
}

func manifestFiles(t *testing.T) []string {
	t.Helper()
	var files []string
	err := fs.WalkDir(os.DirFS(root), "manifests", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
