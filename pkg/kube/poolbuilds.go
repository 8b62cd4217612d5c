package kube

import (
	"context"
	"fmt"
	"sync"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	buildinformers "github.com/openshift/client-go/build/informers/externalversions"
	buildlisters "github.com/openshift/client-go/build/listers/build/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// apiServices has an object for each version of each API that a cluster serves, be
// it by a custom resource or by a server of its own.
var apiServices = schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"}

// buildsResource is the name of Builds in discovery.
const buildsResource = "builds"

// Builds are the build objects of kind Build, of build.openshift.io, where the
// cluster serves that kind: some clusters never do, and some begin to.
type Builds struct {
	Informer cache.SharedIndexInformer
	Lister   buildlisters.BuildLister

	clients  Clients
	services cache.SharedIndexInformer
	start    []func(stop <-chan struct{})
	change   chan struct{}

	mu     sync.Mutex
	served bool
	notify []func()
}

func newBuilds(c Clients, namespace string) (*Builds, error) {
	builds := buildinformers.NewSharedInformerFactoryWithOptions(c.Build, 0, buildinformers.WithNamespace(namespace), buildinformers.WithTransform(slimBuild),
		buildinformers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = labels.Set{api.LabelBuildPod: ""}.String()
		}))
	services := metadatainformer.NewFilteredSharedInformerFactory(c.Metadata, 0, metav1.NamespaceAll, func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, buildService).String()
	})
	b := &Builds{
		Informer: builds.Build().V1().Builds().Informer(), Lister: builds.Build().V1().Builds().Lister(),
		clients: c, services: services.ForResource(apiServices).Informer(), change: make(chan struct{}, 1),
		start: []func(<-chan struct{}){builds.Start, services.Start},
	}
	if err := b.Informer.AddIndexers(cache.Indexers{byPool: poolOf}); err != nil {
		return nil, fmt.Errorf("indexing Builds: %w", err)
	}
	return b, Listen(b.services, func(_, _ *metav1.PartialObjectMetadata) {
		select {
		case b.change <- struct{}{}:
		default:
		}
	})
}

// slimBuild drops from a cached Build what is not asked of a pool's.
func slimBuild(obj any) (any, error) {
	if b, ok := obj.(*buildv1.Build); ok {
		b.Spec = buildv1.BuildSpec{CommonSpec: buildv1.CommonSpec{CompletionDeadlineSeconds: b.Spec.CompletionDeadlineSeconds}}
		b.Status.Stages, b.Status.Conditions = nil, nil
	}
	return slim(obj)
}

// Served is true while the cluster serves the kind.
func (b *Builds) Served() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.served
}

// OnServed has a function called when Served becomes another.
func (b *Builds) OnServed(notify func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notify = append(b.notify, notify)
}

// Of returns the cached Builds of a pool.
func (b *Builds) Of(pool string) []*buildv1.Build { return of[*buildv1.Build](b.Informer, pool) }

// patience is how long an answer about Builds is waited for: a cluster that is not
// well may not give one, and pools are built in pods all the same.
const patience = 30 * time.Second

// run finds out whether the kind is served, and goes on to until the context ends.
// It returns when that is known the first time and the cache is filled, or when no
// answer came.
func (b *Builds) run(ctx context.Context) {
	first, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := wait.PollUntilContextCancel(first, time.Second, true, func(context.Context) (bool, error) {
		return b.look(ctx) == nil, nil
	})
	if err != nil {
		klog.FromContext(ctx).Info("It is not known whether there are Builds; pools are built without until it is")
		b.change <- struct{}{}
	}
	b.start[1](ctx.Done())
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-b.change:
			}
			// A kind is served a moment after its API is registered, or never.
			_ = wait.ExponentialBackoffWithContext(ctx, lookAgain, func(ctx context.Context) (bool, error) {
				registered := len(b.services.GetStore().ListKeys()) > 0
				if err := b.look(ctx); err != nil {
					klog.FromContext(ctx).Error(err, "Builds are not looked for")
					return false, nil
				}
				return b.Served() == registered, nil
			})
		}
	}()
}

// lookAgain is how discovery is repeated after something changed: for half a minute,
// and evenly, since pools that ask for Builds are told meanwhile that there are none.
var lookAgain = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 1, Steps: 60}

// look asks once, and begins to watch what is served.
func (b *Builds) look(ctx context.Context) error {
	list, err := b.clients.Core.Discovery().ServerResourcesForGroupVersion(buildv1.GroupVersion.String())
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("asking for the kinds of %s: %w", buildv1.GroupVersion, err)
	}
	served := false
	if err == nil {
		for _, r := range list.APIResources {
			served = served || r.Name == buildsResource
		}
	}
	if served {
		b.start[0](ctx.Done())
		patient, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if !cache.WaitForCacheSync(patient.Done(), b.Informer.HasSynced) {
			return ErrNotSynced
		}
	}
	b.mu.Lock()
	changed := b.served != served
	b.served = served
	notify := b.notify
	b.mu.Unlock()
	if changed {
		klog.FromContext(ctx).Info("Builds of "+buildv1.GroupName, "served", served)
		for _, n := range notify {
			n()
		}
	}
	return nil
}
