package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	mcGroup   = "machineconfiguration.openshift.io"
	anywhere  = ""
	elsewhere = "kube-system"
)

// right is one thing that somebody may or may not do. A name of "" means any.
type right struct{ verb, group, resource, namespace, name string }

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s %q in %q", r.verb, r.resource, r.group, r.name, r.namespace)
}

// rights are several verbs on one resource.
func rights(namespace, group, resource, name string, verbs ...string) (all []right) {
	for _, verb := range verbs {
		all = append(all, right{verb, group, resource, namespace, name})
	}
	return all
}

// allowed is all that the controller may do. A patch of pools cannot be narrowed
// to their annotations: RBAC knows resources, not fields. The product's patches
// name its own keys alone.
var allowed = slices.Concat(
	rights(anywhere, mcGroup, "machineconfigpools", "", "get", "list", "watch", "patch"),
	rights(anywhere, mcGroup, "machineconfigpools/status", "", "patch"),
	rights(anywhere, mcGroup, "machineconfigs", "", "get", "list", "watch", "create", "delete"),
	rights(anywhere, mcGroup, "machineconfigpools/finalizers", "", "update"),
	rights(anywhere, "", "nodes", "", "list", "watch"),
	rights(namespace, "", "configmaps", "", "get", "list", "watch", "create", "update", "delete"),
	rights(namespace, "", "configmaps/finalizers", "", "update"),
	rights(namespace, "", "pods", "", "get", "list", "watch", "create", "delete"),
	rights(namespace, "", "pods/log", "", "get"),
	rights(namespace, "build.openshift.io", "builds", "", "get", "list", "watch", "create", "delete"),
	rights(namespace, "build.openshift.io", "builds/docker", "", "create"),
	rights(anywhere, "apiregistration.k8s.io", "apiservices", "v1.build.openshift.io", "get", "list", "watch"),
	rights(namespace, "", "secrets", "", "get"),
	rights(namespace, "coordination.k8s.io", "leases", "", "create"),
	rights(namespace, "coordination.k8s.io", "leases", "machine-os-builder", "get", "update"),
	rights("default", "", "events", "", "create", "patch"),
)

// forbidden is what would let the controller, or who steals its token, do harm.
// That nothing else is allowed either shows TestControllerHasNoOtherRights.
var forbidden = slices.Concat(
	rights(namespace, "", "secrets", "", "list", "watch", "create", "update", "patch", "delete", "deletecollection"),
	rights(elsewhere, "", "secrets", "", "get", "list"),
	rights(anywhere, "", "secrets", "", "get", "list", "watch"),
	rights(elsewhere, "", "configmaps", "", "get", "list", "create", "update", "delete"),
	rights(elsewhere, "", "pods", "", "get", "list", "create", "delete"),
	rights(elsewhere, "", "pods/log", "", "get"),
	rights(namespace, "", "pods", "", "update", "patch", "deletecollection"),
	rights(namespace, "", "pods/exec", "", "create", "get"),
	rights(namespace, "", "pods/attach", "", "create", "get"),
	rights(namespace, "", "pods/portforward", "", "create", "get"),
	rights(namespace, "", "pods/ephemeralcontainers", "", "update", "patch"),
	rights(namespace, "", "pods/status", "", "update", "patch"),
	rights(namespace, "", "pods/eviction", "", "create"),
	rights(namespace, "", "serviceaccounts", "", "get", "list", "create", "update", "patch", "impersonate"),
	rights(namespace, "", "serviceaccounts/token", "", "create"),
	rights(anywhere, "", "users", "", "impersonate"),
	rights(anywhere, "", "groups", "", "impersonate"),
	rights(anywhere, "", "nodes", "", "get", "create", "update", "patch", "delete"),
	rights(anywhere, "", "nodes/proxy", "", "get", "create"),
	rights(anywhere, "", "nodes/status", "", "update", "patch"),
	rights(anywhere, "", "namespaces", "", "create", "update", "patch", "delete"),
	rights(anywhere, mcGroup, "machineconfigs", "", "update", "patch", "deletecollection"),
	rights(anywhere, mcGroup, "machineconfigpools", "", "create", "update", "delete", "deletecollection"),
	rights(anywhere, mcGroup, "controllerconfigs", "", "update", "patch", "delete"),
	rights(elsewhere, "build.openshift.io", "builds", "", "get", "list", "create", "delete"),
	rights(namespace, "build.openshift.io", "builds", "", "update", "patch", "deletecollection"),
	rights(namespace, "build.openshift.io", "builds/status", "", "update", "patch"),
	rights(anywhere, "apiregistration.k8s.io", "apiservices", "", "get", "list", "create", "update", "patch", "delete"),
	// On OpenShift its mirrors and its proxy are read: manifests/overlays/openshift.
	rights(anywhere, "config.openshift.io", "proxies", "", "list", "watch", "create", "update", "patch", "delete"),
	rights(anywhere, "config.openshift.io", "imagedigestmirrorsets", "", "create", "update", "patch", "delete"),
	rights(anywhere, "config.openshift.io", "imagetagmirrorsets", "", "create", "update", "patch", "delete"),
	rights(namespace, "apps", "deployments", "", "get", "create", "update", "patch", "delete"),
	rights(namespace, "apps", "daemonsets", "", "create", "update", "patch"),
	rights(namespace, "coordination.k8s.io", "leases", "another", "get", "update", "delete"),
	rights(namespace, "rbac.authorization.k8s.io", "roles", "", "create", "update", "patch", "escalate", "bind"),
	rights(namespace, "rbac.authorization.k8s.io", "rolebindings", "", "create", "update", "patch"),
	rights(anywhere, "rbac.authorization.k8s.io", "clusterroles", "", "create", "update", "patch", "escalate", "bind"),
	rights(anywhere, "rbac.authorization.k8s.io", "clusterrolebindings", "", "create", "update", "patch"),
	rights(anywhere, "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "create", "update", "patch"),
	rights(anywhere, "apiextensions.k8s.io", "customresourcedefinitions", "", "create", "update", "patch", "delete"),
	rights(anywhere, "certificates.k8s.io", "certificatesigningrequests", "", "create", "update", "approve"),
	rights(elsewhere, "", "events", "", "create", "patch"),
	rights(anywhere, "*", "*", "", "*"),
	rights(namespace, "*", "*", "", "*"),
	rights(namespace, "", "*", "", "get"),
	rights(namespace, "", "pods", "", "*"),
)

func TestControllerMayDoWhatItMust(t *testing.T) {
	checkAccess(t, allowed, true)
}

func TestControllerMayNotDoHarm(t *testing.T) {
	checkAccess(t, forbidden, false)
}

// checkAccess asks the API server under the controller's own token.
func checkAccess(t *testing.T, all []right, want bool) {
	t.Helper()
	client := controllerClient(t)
	for _, r := range all {
		t.Run(r.String(), func(t *testing.T) {
			resource, subresource, _ := strings.Cut(r.resource, "/")
			review, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
				Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
					Verb: r.verb, Group: r.group, Resource: resource, Subresource: subresource, Namespace: r.namespace, Name: r.name,
				}},
			}, metav1.CreateOptions{})
			must(t, err)
			if review.Status.Allowed != want {
				t.Errorf("allowed: %v, want %v (%s)", review.Status.Allowed, want, review.Status.Reason)
			}
		})
	}
}

// TestControllerHasNoOtherRights lists all rights of the controller in its own
// namespace, in that of the pools' events, and in one that is not its business.
func TestControllerHasNoOtherRights(t *testing.T) {
	client := controllerClient(t)
	for _, in := range []string{namespace, "default", elsewhere} {
		t.Run(in, func(t *testing.T) {
			review, err := client.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
				Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: in},
			}, metav1.CreateOptions{})
			must(t, err)
			if review.Status.Incomplete {
				t.Fatalf("the API server does not know all: %s", review.Status.EvaluationError)
			}
			want := map[string]bool{}
			for _, r := range allowed {
				if r.namespace == anywhere || r.namespace == in {
					want[right{r.verb, r.group, r.resource, "", r.name}.String()] = true
				}
			}
			have := expand(review.Status.ResourceRules)
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(have))); diff != "" {
				t.Errorf("rights (-want +have):\n%s", diff)
			}
		})
	}
}

// expand makes single rights of rules, without what every user has: questions
// about oneself.
func expand(rules []authorizationv1.ResourceRule) map[string]bool {
	all := map[string]bool{}
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			if group == "authorization.k8s.io" || group == "authentication.k8s.io" {
				continue
			}
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					for _, name := range names {
						all[right{verb, group, resource, "", name}.String()] = true
					}
				}
			}
		}
	}
	return all
}

func controllerClient(t *testing.T) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(newWorld(t).controllerConfig())
	must(t, err)
	return client
}
