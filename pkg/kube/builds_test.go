package kube

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestCheckBuilds(t *testing.T) {
	object := func(apiVersion, kind, name string, spec map[string]any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name}, "spec": spec}}
	}
	definition := object("apiextensions.k8s.io/v1", "CustomResourceDefinition", "builds.build.openshift.io", nil)
	own := object("apiregistration.k8s.io/v1", "APIService", "v1.build.openshift.io", map[string]any{"group": "build.openshift.io"})
	openshift := object("apiregistration.k8s.io/v1", "APIService", "v1.build.openshift.io", map[string]any{"service": map[string]any{"namespace": "openshift-apiserver", "name": "api"}})
	for name, row := range map[string]struct {
		objects []runtime.Object
		fail    string
		is      error
		says    string
	}{
		"a custom resource":    {[]runtime.Object{definition, own}, "", nil, ""},
		"not registered yet":   {[]runtime.Object{definition}, "", nil, ""},
		"OpenShift":            {[]runtime.Object{openshift}, "", ErrBuildsNotOurs, `served by the Service "api", as on OpenShift`},
		"OpenShift, and ours":  {[]runtime.Object{openshift, definition}, "", ErrBuildsNotOurs, "remove this program there"},
		"nothing":              {nil, "", ErrNoBuilds, "apply manifests/builds/crd"},
		"no right to services": {[]runtime.Object{definition}, "apiservices", nil, `reading APIService "v1.build.openshift.io"`},
		"no right to kinds":    {[]runtime.Object{own}, "customresourcedefinitions", nil, `reading CustomResourceDefinition "builds.build.openshift.io"`},
	} {
		t.Run(name, func(t *testing.T) {
			client := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), row.objects...)
			client.PrependReactor("get", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
				return a.GetResource().Resource == row.fail, nil, apierrors.NewForbidden(schema.GroupResource{Resource: row.fail}, "", errors.New("induced"))
			})
			err := CheckBuilds(t.Context(), Clients{Dynamic: client})
			if row.is == nil && row.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || row.is != nil && !errors.Is(err, row.is) || !strings.Contains(err.Error(), row.says) {
				t.Errorf("error %v, want %q", err, row.says)
			}
		})
	}
}
