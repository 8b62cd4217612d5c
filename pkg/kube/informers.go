package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfginformers "github.com/openshift/client-go/machineconfiguration/informers/externalversions"
	mcfglisters "github.com/openshift/client-go/machineconfiguration/listers/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// ErrNotSynced is returned when caches could not be filled before the context ended.
var ErrNotSynced = errors.New("caches were not filled")

// Informers hold what the controllers watch. Nothing is resynchronised by
// time: every key that waits asks to be looked at again itself.
type Informers struct {
	Pools      cache.SharedIndexInformer
	PoolLister mcfglisters.MachineConfigPoolLister
	// Configs are MachineConfigs without their content: what they are, whom they
	// belong to, and their labels.
	Configs      cache.SharedIndexInformer
	ConfigLister cache.GenericLister
	// Pods and BuildMaps are build objects only; the content of inputs is dropped.
	Pods           cache.SharedIndexInformer
	PodLister      corelisters.PodLister
	BuildMaps      cache.SharedIndexInformer
	BuildMapLister corelisters.ConfigMapLister
	// Builds are those of clusters that have them; nil without a client for them.
	Builds *Builds
	// Nodes are there after WatchNodes only.
	Nodes      cache.SharedIndexInformer
	NodeLister corelisters.NodeLister
	// Settings are the ConfigMaps of users, by name.
	Settings       map[string]cache.SharedIndexInformer
	settingListers map[string]corelisters.ConfigMapLister

	clients   Clients
	namespace string
	start     []func(stop <-chan struct{})
}

// settingNames are the ConfigMaps that are watched, each by a watch of its own.
var settingNames = []string{api.ConfigMapBuildConfig, api.ConfigMapOSImageURL, api.ConfigMapCustomDockerfile}

// NewInformers makes the informers; Start starts them.
func NewInformers(c Clients, namespace string) (*Informers, error) {
	in := &Informers{
		clients: c, namespace: namespace,
		Settings: map[string]cache.SharedIndexInformer{}, settingListers: map[string]corelisters.ConfigMapLister{},
	}
	pools := mcfginformers.NewSharedInformerFactoryWithOptions(c.MachineConfig, 0, mcfginformers.WithTransform(slim))
	in.Pools = pools.Machineconfiguration().V1().MachineConfigPools().Informer()
	in.PoolLister = pools.Machineconfiguration().V1().MachineConfigPools().Lister()
	in.start = append(in.start, pools.Start)

	configs := metadatainformer.NewSharedInformerFactoryWithOptions(c.Metadata, 0, metadatainformer.WithTransform(slim))
	config := configs.ForResource(mcfgv1.GroupVersion.WithResource("machineconfigs"))
	in.Configs, in.ConfigLister = config.Informer(), config.Lister()
	in.start = append(in.start, configs.Start)

	builds := informers.NewSharedInformerFactoryWithOptions(c.Core, 0, informers.WithNamespace(namespace), informers.WithTransform(slim),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.LabelSelector = labels.Set{api.LabelBuildPod: ""}.String()
		}))
	in.Pods, in.PodLister = builds.Core().V1().Pods().Informer(), builds.Core().V1().Pods().Lister()
	in.BuildMaps, in.BuildMapLister = builds.Core().V1().ConfigMaps().Informer(), builds.Core().V1().ConfigMaps().Lister()
	in.start = append(in.start, builds.Start)
	indexers := cache.Indexers{byPool: poolOf}
	if err := errors.Join(in.Pods.AddIndexers(indexers), in.BuildMaps.AddIndexers(indexers)); err != nil {
		return nil, fmt.Errorf("indexing build objects: %w", err)
	}

	if c.Build != nil {
		var err error
		if in.Builds, err = newBuilds(c, namespace); err != nil {
			return nil, err
		}
	}

	for _, name := range settingNames {
		factory := informers.NewSharedInformerFactoryWithOptions(c.Core, 0, informers.WithNamespace(namespace), informers.WithTransform(slim),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
			}))
		in.Settings[name] = factory.Core().V1().ConfigMaps().Informer()
		in.settingListers[name] = factory.Core().V1().ConfigMaps().Lister()
		in.start = append(in.start, factory.Start)
	}
	return in, nil
}

// WatchNodes adds the nodes to what is watched, before Start; once is enough.
func (in *Informers) WatchNodes() {
	if in.Nodes != nil {
		return
	}
	nodes := informers.NewSharedInformerFactoryWithOptions(in.clients.Core, 0, informers.WithTransform(slim))
	in.Nodes, in.NodeLister = nodes.Core().V1().Nodes().Informer(), nodes.Core().V1().Nodes().Lister()
	in.start = append(in.start, nodes.Start)
}

// Start starts the informers and waits until their caches are filled.
func (in *Informers) Start(ctx context.Context) error {
	for _, start := range in.start {
		start(ctx.Done())
	}
	synced := []cache.InformerSynced{in.Pools.HasSynced, in.Configs.HasSynced, in.Pods.HasSynced, in.BuildMaps.HasSynced}
	for _, s := range in.Settings {
		synced = append(synced, s.HasSynced)
	}
	if in.Nodes != nil {
		synced = append(synced, in.Nodes.HasSynced)
	}
	if !cache.WaitForCacheSync(ctx.Done(), synced...) {
		return ErrNotSynced
	}
	if in.Builds != nil {
		in.Builds.run(ctx)
	}
	return nil
}

// Setting returns a user's ConfigMap; nil when it does not exist.
func (in *Informers) Setting(name string) *corev1.ConfigMap {
	// A lister's only error is "not found".
	cm, err := in.settingListers[name].ConfigMaps(in.namespace).Get(name)
	if err != nil {
		return nil
	}
	return cm
}

// byPool indexes build objects by the pool that they were made for.
const byPool = "pool"

func poolOf(obj any) ([]string, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return nil, fmt.Errorf("indexing build objects: %w", err)
	}
	return []string{m.GetAnnotations()[api.AnnotationPool]}, nil
}

// PodsOf returns the cached build pods of a pool.
func (in *Informers) PodsOf(pool string) []*corev1.Pod { return of[*corev1.Pod](in.Pods, pool) }

// BuildMapsOf returns the cached inputs and records of a pool.
func (in *Informers) BuildMapsOf(pool string) []*corev1.ConfigMap {
	return of[*corev1.ConfigMap](in.BuildMaps, pool)
}

func of[T any](informer cache.SharedIndexInformer, pool string) []T {
	objects, err := informer.GetIndexer().ByIndex(byPool, pool)
	if err != nil {
		return nil // the index exists
	}
	out := make([]T, 0, len(objects))
	for _, obj := range objects {
		if o, ok := obj.(T); ok {
			out = append(out, o)
		}
	}
	return out
}

// slim drops from a cached object what nobody reads.
func slim(obj any) (any, error) {
	m, err := meta.Accessor(obj)
	if err != nil {
		return obj, nil //nolint:nilerr // a tombstone has no metadata and is kept as it is
	}
	m.SetManagedFields(nil)
	// What kubectl apply keeps there is the whole object once more.
	delete(m.GetAnnotations(), corev1.LastAppliedConfigAnnotation)
	switch o := obj.(type) {
	case *mcfgv1.MachineConfigPool:
		// The sources of the config are many, and stand there twice.
		o.Spec = mcfgv1.MachineConfigPoolSpec{
			Configuration: configurationName(o.Spec.Configuration), MachineConfigSelector: o.Spec.MachineConfigSelector,
			NodeSelector: o.Spec.NodeSelector, Paused: o.Spec.Paused,
		}
		o.Status = mcfgv1.MachineConfigPoolStatus{
			// A decoder leaves room for nearly as many conditions again.
			Configuration: configurationName(o.Status.Configuration), Conditions: slices.Clone(o.Status.Conditions), ObservedGeneration: o.Status.ObservedGeneration,
			MachineCount: o.Status.MachineCount, UpdatedMachineCount: o.Status.UpdatedMachineCount, ReadyMachineCount: o.Status.ReadyMachineCount,
			UnavailableMachineCount: o.Status.UnavailableMachineCount, DegradedMachineCount: o.Status.DegradedMachineCount,
		}
	case *metav1.PartialObjectMetadata:
		o.ObjectMeta = metav1.ObjectMeta{
			Name: o.Name, UID: o.UID, ResourceVersion: o.ResourceVersion, Generation: o.Generation, Labels: o.Labels,
			CreationTimestamp: o.CreationTimestamp, DeletionTimestamp: o.DeletionTimestamp, OwnerReferences: o.OwnerReferences,
		}
	case *corev1.Node:
		slimNode(o)
	case *corev1.ConfigMap:
		if o.Labels[api.LabelRole] == api.RoleInput {
			o.Data, o.BinaryData = nil, nil
		}
		if o.Labels[api.LabelRole] == api.RoleRecord {
			delete(o.Data, api.KeyLog)
			o.OwnerReferences = nil
			o.Labels = only(o.Labels, api.LabelRole)
			o.Annotations = only(o.Annotations, api.AnnotationPool, api.AnnotationPoolUID, api.AnnotationRenderedConfig)
		}
	case *corev1.Pod:
		o.Spec.Volumes = nil
		for i := range o.Spec.Containers {
			slimContainer(&o.Spec.Containers[i])
		}
		for i := range o.Spec.InitContainers {
			slimContainer(&o.Spec.InitContainers[i])
		}
	}
	return obj, nil
}

func configurationName(c mcfgv1.MachineConfigPoolStatusConfiguration) mcfgv1.MachineConfigPoolStatusConfiguration {
	return mcfgv1.MachineConfigPoolStatusConfiguration{ObjectReference: corev1.ObjectReference{Name: c.Name}}
}

// slimNode keeps what the status of a pool is made of.
func slimNode(n *corev1.Node) {
	maps.DeleteFunc(n.Annotations, func(key, _ string) bool { return !strings.HasPrefix(key, mcfgv1.GroupName+"/") })
	n.Spec = corev1.NodeSpec{Unschedulable: n.Spec.Unschedulable}
	n.Status = corev1.NodeStatus{Conditions: n.Status.Conditions}
}

// only keeps some keys; their texts are in memory once for all objects.
func only(m map[string]string, keys ...string) map[string]string {
	kept := map[string]string{}
	for _, key := range keys {
		if value, ok := m[key]; ok {
			kept[key] = value
		}
	}
	return kept
}

// slimContainer keeps what a failure's message names.
func slimContainer(c *corev1.Container) {
	*c = corev1.Container{Name: c.Name, Image: c.Image, Resources: c.Resources}
}
