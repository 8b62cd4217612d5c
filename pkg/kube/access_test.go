package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	configv1 "github.com/openshift/api/config/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	testclock "k8s.io/utils/clock/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
)

const accessNamespace = "ns"

// cluster has some objects and, if served, OpenShift's configuration API.
func cluster(t *testing.T, served bool, objects ...runtime.Object) (Clients, *dynamicfake.FakeDynamicClient) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := configv1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	var core, others []runtime.Object
	for _, o := range objects {
		switch o.(type) {
		case *corev1.ConfigMap, *corev1.Secret:
			core = append(core, o)
		default:
			others = append(others, o)
		}
	}
	client := fake.NewClientset(core...)
	if served {
		client.Resources = []*metav1.APIResourceList{{GroupVersion: configv1.GroupVersion.String(), APIResources: []metav1.APIResource{
			{Name: digestMirrorSets}, {Name: tagMirrorSets}, {Name: proxies},
		}}}
	}
	dynamic := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(scheme, map[schema.GroupVersionResource]string{
		configv1.GroupVersion.WithResource(digestMirrorSets): "ImageDigestMirrorSetList",
		configv1.GroupVersion.WithResource(tagMirrorSets):    "ImageTagMirrorSetList",
	}, others...)
	return Clients{Core: client, Dynamic: dynamic}, dynamic
}

func clusterWide(kind, name string) (metav1.TypeMeta, metav1.ObjectMeta) {
	return metav1.TypeMeta{APIVersion: configv1.GroupVersion.String(), Kind: kind}, metav1.ObjectMeta{Name: name}
}

func openShift() []runtime.Object {
	p, digest, tag := &configv1.Proxy{}, &configv1.ImageDigestMirrorSet{}, &configv1.ImageTagMirrorSet{}
	p.TypeMeta, p.ObjectMeta = clusterWide("Proxy", clusterObject)
	p.Status = configv1.ProxyStatus{HTTPSProxy: "http://u:hunter2@cluster:1", NoProxy: ".svc"}
	digest.TypeMeta, digest.ObjectMeta = clusterWide("ImageDigestMirrorSet", "d")
	digest.Spec.ImageDigestMirrors = []configv1.ImageDigestMirrors{{Source: "quay.io", Mirrors: []configv1.ImageMirror{"d.example.com"}}}
	tag.TypeMeta, tag.ObjectMeta = clusterWide("ImageTagMirrorSet", "t")
	tag.Spec.ImageTagMirrors = []configv1.ImageTagMirrors{{Source: "quay.io", Mirrors: []configv1.ImageMirror{"t.example.com"}}}
	return []runtime.Object{p, digest, tag}
}

func TestProxyOfSettingsThenOfTheCluster(t *testing.T) {
	login := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: accessNamespace, Name: "login"}, Data: map[string][]byte{api.KeyHTTPSProxy: []byte("http://u:p@secret:1")}}
	ofCluster := proxy.Config{HTTPS: "http://u:hunter2@cluster:1", No: ".svc"}
	for name, row := range map[string]struct {
		settings buildconfig.Proxy
		served   bool
		objects  []runtime.Object
		want     proxy.Config
		problem  string
	}{
		"nothing":            {},
		"the API is absent":  {objects: openShift()},
		"the API is empty":   {served: true},
		"the cluster's":      {served: true, objects: openShift(), want: ofCluster},
		"settings win":       {settings: buildconfig.Proxy{Config: proxy.Config{No: "x"}}, served: true, objects: openShift(), want: proxy.Config{No: "x"}},
		"the Secret wins":    {settings: buildconfig.Proxy{SecretName: "login"}, served: true, objects: append(openShift(), login), want: proxy.Config{HTTPS: "http://u:p@secret:1"}},
		"there is no Secret": {settings: buildconfig.Proxy{SecretName: "login"}, problem: "does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			clients, _ := cluster(t, row.served, row.objects...)
			a, problems, err := ReadRegistryAccess(context.Background(), clients, accessNamespace, buildconfig.Settings{Proxy: row.settings})
			if err != nil || a.Proxy != row.want || (row.problem == "") != (len(problems) == 0) || !strings.Contains(problems.String(), row.problem) {
				t.Errorf("%+v, problems %q, %v", a.Proxy, problems, err)
			}
		})
	}
}

func TestMirrorsOfUsersAndOfTheCluster(t *testing.T) {
	users := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: accessNamespace, Name: api.ConfigMapRegistries}, Data: map[string]string{
		api.KeyRegistriesConf: "[[registry]]\nlocation = 'own.example.com'\n",
	}}
	for name, row := range map[string]struct {
		served  bool
		objects []runtime.Object
		want    []string
	}{
		"none":          {},
		"users'":        {objects: append(openShift(), users), want: []string{"own.example.com"}},
		"the cluster's": {served: true, objects: openShift(), want: []string{"d.example.com", "digest-only", "t.example.com", "tag-only"}},
		"both":          {served: true, objects: append(openShift(), users), want: []string{"own.example.com", "d.example.com"}},
	} {
		t.Run(name, func(t *testing.T) {
			clients, _ := cluster(t, row.served, row.objects...)
			network, problems, err := ReadNetwork(context.Background(), clients, accessNamespace, buildconfig.Settings{}, RegistryAccess{})
			if err != nil || len(problems) > 0 || (network.Registries == "") != (row.want == nil) {
				t.Fatalf("%q, problems %q, %v", network.Registries, problems, err)
			}
			for _, want := range row.want {
				if !strings.Contains(network.Registries, want) {
					t.Errorf("no %s in\n%s", want, network.Registries)
				}
			}
		})
	}
}

// TestForbiddenIsNoAbsence: a right that is missing is told, not passed over, and
// any other failure is one of the read.
func TestForbiddenIsNoAbsence(t *testing.T) {
	for name, row := range map[string]struct {
		answer  error
		problem bool
	}{
		"forbidden": {apierrors.NewForbidden(configv1.GroupVersion.WithResource(proxies).GroupResource(), "", nil), true},
		"broken":    {apierrors.NewInternalError(errors.New("broken")), false},
	} {
		t.Run(name, func(t *testing.T) {
			clients, dynamic := cluster(t, true)
			dynamic.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, row.answer })
			_, ofMirrors, mirrorsErr := ReadNetwork(context.Background(), clients, accessNamespace, buildconfig.Settings{}, RegistryAccess{})
			_, ofProxy, proxyErr := ReadRegistryAccess(context.Background(), clients, accessNamespace, buildconfig.Settings{})
			if row.problem {
				if mirrorsErr != nil || proxyErr != nil || !strings.Contains(ofMirrors.String(), "may not list "+digestMirrorSets) || !strings.Contains(ofProxy.String(), "may not get "+proxies) {
					t.Errorf("problems %q and %q, %v, %v", ofMirrors, ofProxy, mirrorsErr, proxyErr)
				}
				return
			}
			if !errors.Is(mirrorsErr, row.answer) || !errors.Is(proxyErr, row.answer) {
				t.Errorf("errors %v, %v", mirrorsErr, proxyErr)
			}
		})
	}
}

func TestAuthoritiesOfBothConfigMaps(t *testing.T) {
	broken := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: accessNamespace, Name: api.ConfigMapUserCA}, Data: map[string]string{api.UserCAKey: "later"}}
	clients, _ := cluster(t, false, broken)
	_, problems, err := ReadRegistryAccess(context.Background(), clients, accessNamespace, buildconfig.Settings{})
	if err != nil || !strings.Contains(problems.String(), "ConfigMap/user-ca-bundle, key ca-bundle.crt: holds no certificate") {
		t.Errorf("problems %q, %v", problems, err)
	}
}

// TestKindsAreRemembered: the API server is asked once for many builds, and again
// after an answer that was none.
func TestKindsAreRemembered(t *testing.T) {
	clients, _ := cluster(t, true, openShift()...)
	core, ok := clients.Core.(*fake.Clientset)
	if !ok {
		t.Fatal("another client")
	}
	now := testclock.NewFakePassiveClock(time.Unix(0, 0))
	down := true
	core.PrependReactor("get", "resource", func(clienttesting.Action) (bool, runtime.Object, error) {
		return down, nil, errors.New("down")
	})
	clients.OpenShift = &KnownKinds{Clock: now}
	if _, _, err := ReadNetwork(context.Background(), clients, accessNamespace, buildconfig.Settings{}, RegistryAccess{}); err == nil {
		t.Fatal("a cluster that says nothing has mirrors")
	}
	down = false
	core.ClearActions()
	for range 3 {
		network, _, err := ReadNetwork(context.Background(), clients, accessNamespace, buildconfig.Settings{}, RegistryAccess{})
		if err != nil || network.Registries == "" {
			t.Fatalf("%q, %v", network.Registries, err)
		}
	}
	asked := func() (count int) {
		for _, action := range core.Actions() {
			if action.GetResource().Resource == "resource" {
				count++
			}
		}
		return count
	}
	if asked() != 1 {
		t.Errorf("asked %d times", asked())
	}
	now.SetTime(now.Now().Add(forgetKinds + time.Second))
	if _, _, err := ReadNetwork(context.Background(), clients, accessNamespace, buildconfig.Settings{}, RegistryAccess{}); err != nil || asked() != 2 {
		t.Errorf("later asked %d times, %v", asked(), err)
	}
}
