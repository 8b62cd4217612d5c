package kube

import (
	"context"
	"errors"
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"
	buildinformers "github.com/openshift/client-go/build/informers/externalversions"
	buildlisters "github.com/openshift/client-go/build/listers/build/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
)

// BuildInformers hold the Builds of build.openshift.io/v1 and their pods.
type BuildInformers struct {
	Builds      cache.SharedIndexInformer
	BuildLister buildlisters.BuildLister
	Pods        cache.SharedIndexInformer
	PodLister   corelisters.PodLister

	start []func(stop <-chan struct{})
}

// NewBuildInformers makes the informers of one namespace, of all when it is empty;
// Start starts them.
func NewBuildInformers(c Clients, namespace string) *BuildInformers {
	builds := buildinformers.NewSharedInformerFactoryWithOptions(c.Build, 0, buildinformers.WithNamespace(namespace), buildinformers.WithTransform(slimEndedBuild))
	pods := informers.NewSharedInformerFactoryWithOptions(c.Core, 0, informers.WithNamespace(namespace), informers.WithTransform(slim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = buildv1.BuildLabel }))
	return &BuildInformers{
		Builds: builds.Build().V1().Builds().Informer(), BuildLister: builds.Build().V1().Builds().Lister(),
		Pods: pods.Core().V1().Pods().Informer(), PodLister: pods.Core().V1().Pods().Lister(),
		start: []func(<-chan struct{}){builds.Start, pods.Start},
	}
}

// Ended says whether a Build has its last phase. The informers keep a part of such a one
// only, and there may be many: it must not be written back.
func Ended(b *buildv1.Build) bool {
	switch b.Status.Phase {
	case buildv1.BuildPhaseComplete, buildv1.BuildPhaseFailed, buildv1.BuildPhaseError, buildv1.BuildPhaseCancelled:
		return true
	default:
		return false
	}
}

// slimEndedBuild drops from a cached Build that has ended what its pod was made of: a
// Dockerfile alone may have 60 KB.
func slimEndedBuild(obj any) (any, error) {
	if b, ok := obj.(*buildv1.Build); ok && Ended(b) {
		b.Spec = buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{Output: buildv1.BuildOutput{To: b.Spec.Output.To}}}
	}
	return slim(obj)
}

// Start starts the informers and waits until their caches are filled.
func (in *BuildInformers) Start(ctx context.Context) error {
	for _, start := range in.start {
		start(ctx.Done())
	}
	if !cache.WaitForCacheSync(ctx.Done(), in.Builds.HasSynced, in.Pods.HasSynced) {
		return ErrNotSynced
	}
	return nil
}

// What a cluster without Builds of its own has to have, and what each with them has.
var (
	definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

	buildDefinition = "builds." + buildv1.GroupName
	buildService    = buildv1.GroupVersion.Version + "." + buildv1.GroupName
)

// ErrBuildsNotOurs is of a cluster whose Builds somebody else runs; ErrNoBuilds of one
// that has none.
var (
	ErrBuildsNotOurs = errors.New("the Builds of this cluster belong to somebody else")
	ErrNoBuilds      = errors.New("this cluster has no Builds")
)

// CheckBuilds returns nil where Build is a custom resource, which nobody runs by
// itself.
func CheckBuilds(ctx context.Context, c Clients) error {
	service, err := c.Dynamic.Resource(apiServices).Get(ctx, buildService, metav1.GetOptions{})
	switch {
	case err == nil:
		name, aggregated, _ := unstructured.NestedString(service.Object, "spec", "service", "name")
		if aggregated {
			return fmt.Errorf("%w: APIService %q is served by the Service %q, as on OpenShift, whose own controller runs Builds; remove this program there", ErrBuildsNotOurs, buildService, name)
		}
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading APIService %q: %w", buildService, err)
	}
	_, err = c.Dynamic.Resource(definitions).Get(ctx, buildDefinition, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w: there is no CustomResourceDefinition %q; apply manifests/builds/crd", ErrNoBuilds, buildDefinition)
	}
	if err != nil {
		return fmt.Errorf("reading CustomResourceDefinition %q: %w", buildDefinition, err)
	}
	return nil
}
