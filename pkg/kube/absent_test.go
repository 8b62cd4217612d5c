package kube

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgfake "github.com/openshift/client-go/machineconfiguration/clientset/versioned/fake"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	corefake "k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// TestS37AbsentAPIsAreWaitedFor: without the CRDs of pools and configs the
// informers start all the same, and notice when the CRDs are made.
func TestS37AbsentAPIsAreWaitedFor(t *testing.T) {
	var served atomic.Bool
	asked := make(chan string, 100)
	absent := func(a clienttesting.Action) (bool, runtime.Object, error) {
		if served.Load() {
			return false, nil, nil
		}
		select {
		case asked <- a.GetResource().Resource:
		default:
		}
		return true, nil, apierrors.NewNotFound(a.GetResource().GroupResource(), "")
	}
	pool := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: "worker", ResourceVersion: "1"}}
	config := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfig"},
		ObjectMeta: metav1.ObjectMeta{Name: "rendered-worker-a", ResourceVersion: "1"},
	}
	setting := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "builds", Name: api.ConfigMapBuildConfig, ResourceVersion: "1"}}
	scheme := metadatafake.NewTestScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	machineConfig, metadata := mcfgfake.NewSimpleClientset(pool), metadatafake.NewSimpleMetadataClient(scheme, config)
	for _, verb := range []string{"list", "watch"} {
		machineConfig.PrependReactor(verb, "*", absent)
		metadata.PrependReactor(verb, "*", absent)
	}
	in, err := NewInformers(Clients{Core: corefake.NewClientset(setting), MachineConfig: machineConfig, Metadata: metadata}, "builds")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- in.Start(ctx) }()
	// Others are watched meanwhile, and the absent ones are asked for again.
	if err := wait.PollUntilContextCancel(ctx, time.Millisecond, true, func(context.Context) (bool, error) {
		return in.Setting(api.ConfigMapBuildConfig) != nil, nil
	}); err != nil {
		t.Fatal("the settings are not watched while pools cannot be")
	}
	for seen := map[string]int{}; seen["machineconfigpools"] < 2 || seen["machineconfigs"] < 2; {
		select {
		case resource := <-asked:
			seen[resource]++
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		case <-ctx.Done():
			t.Fatalf("asked for %v only", seen)
		}
	}
	served.Store(true)
	if err := <-done; err != nil {
		t.Fatalf("the CRDs are there, and: %v", err)
	}
	if _, err := in.PoolLister.Get("worker"); err != nil {
		t.Error(err)
	}
	if _, err := in.ConfigLister.Get("rendered-worker-a"); err != nil {
		t.Error(err)
	}
}
