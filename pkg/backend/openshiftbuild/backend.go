package openshiftbuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	buildv1 "github.com/openshift/api/build/v1"
	buildclient "github.com/openshift/client-go/build/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/podlog"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/dockerfile"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// Kind is what users call a run of this back-end.
const Kind = "build"

// Backend builds by Builds.
type Backend struct {
	core      kubernetes.Interface
	builds    buildclient.Interface
	cached    *kube.Builds
	namespace string
	inputs    *inputs.Store
}

var _ backend.Backend = (*Backend)(nil)

// New returns the back-end for a namespace.
func New(clients kube.Clients, informers *kube.Informers, namespace string) *Backend {
	return &Backend{
		core: clients.Core, builds: clients.Build, cached: informers.Builds, namespace: namespace,
		inputs: inputs.New(clients.Core, informers, namespace, api.BuilderOpenShift),
	}
}

// Watch implements backend.Backend.
func (b *Backend) Watch(notify func(before, after *backend.Observation)) error {
	if err := b.cached.Informer.AddIndexers(cache.Indexers{activeIndex: activeOf}); err != nil {
		return fmt.Errorf("indexing Builds: %w", err)
	}
	err := kube.Listen(b.cached.Informer, func(before, after *buildv1.Build) {
		if b.inputs.Removing(cmp.Or(after, before).Annotations[api.AnnotationRenderedConfig]) {
			return
		}
		was, is := observeOne(before), observeOne(after)
		if inputs.Changed(was, is) {
			notify(was, is)
		}
	})
	if err != nil {
		return err
	}
	return b.inputs.WatchRemoved(Kind, func(gone *backend.Observation) { notify(gone, nil) })
}

// List implements backend.Backend.
func (b *Backend) List(ctx context.Context, pool string, live bool) ([]backend.Observation, error) {
	// What the cache holds of a kind that is not served any more is gone.
	var builds []*buildv1.Build
	switch {
	case !b.cached.Served():
	case live:
		var err error
		if builds, err = b.live(ctx, pool); err != nil {
			return nil, err
		}
	default:
		builds = b.cached.Of(pool)
	}
	return observe(b.inputs.Roots(pool), b.inputs.Runs(pool), builds), nil
}

// live reads the Builds of a pool's runs from the API server.
func (b *Backend) live(ctx context.Context, pool string) ([]*buildv1.Build, error) {
	list, err := b.builds.BuildV1().Builds(b.namespace).List(ctx, metav1.ListOptions{LabelSelector: inputs.RunSelector(pool)})
	if err != nil {
		return nil, fmt.Errorf("listing Builds of pool %q: %w", pool, err)
	}
	var builds []*buildv1.Build
	for i := range list.Items {
		// A label holds a long name in part only.
		if build := &list.Items[i]; build.Annotations[api.AnnotationPool] == pool {
			builds = append(builds, build)
		}
	}
	return builds, nil
}

// activeIndex indexes the Builds that are active by their pool.
const activeIndex = "active"

func activeOf(obj any) ([]string, error) {
	build, ok := obj.(*buildv1.Build)
	if !ok || !inputs.IsRun(build.ObjectMeta) {
		return nil, nil
	}
	var o backend.Observation
	if observeBuild(&o, build); !o.Phase.Active() {
		return nil, nil
	}
	return []string{build.Annotations[api.AnnotationPool]}, nil
}

// Active implements backend.Backend.
func (b *Backend) Active() []string {
	if !b.cached.Served() {
		return nil
	}
	return b.cached.Informer.GetIndexer().ListIndexFuncValues(activeIndex)
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, r buildspec.Request) (types.UID, error) {
	installs, err := installsPackages(r)
	if err != nil {
		return "", err
	}
	if r.Dockerfile, err = render(r); err != nil {
		return "", err
	}
	// How registries are reached is the affair of whoever runs Builds.
	r.Network = buildspec.Network{}
	root, err := b.inputs.Ensure(ctx, r)
	if err != nil {
		return "", err
	}
	given, err := b.given(ctx, installs)
	if err != nil {
		return "", err
	}
	uid, err := b.ensureRun(ctx, r, run(r, root, given))
	if err != nil {
		return "", err
	}
	// A Build takes its Dockerfile with it. The ConfigMap is for people, and outlives a
	// Build that somebody deletes, which nothing holds back.
	return uid, b.inputs.EnsureDockerfile(ctx, r, root, uid)
}

func (b *Backend) ensureRun(ctx context.Context, r buildspec.Request, want *buildv1.Build) (types.UID, error) {
	client := b.builds.BuildV1().Builds(b.namespace)
	made, err := client.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return "", fmt.Errorf("creating Build %q: %w", want.Name, err)
		}
		return made.UID, nil
	}
	have, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading Build %q: %w", want.Name, err)
	}
	return have.UID, inputs.MyRun(r, Kind+"/"+want.Name, have.ObjectMeta, want.ObjectMeta)
}

// given are the files for steps that there are. Without those of repositories where
// packages are installed: that step writes their directory, which a Build's volume
// does not let it, and uses no other repository than its own.
func (b *Backend) given(ctx context.Context, installs bool) ([]string, error) {
	var given []string
	for _, name := range slices.Sorted(maps.Keys(stepFiles)) {
		if installs && buildspec.StepFiles[name] == dockerfile.RepositoriesDir {
			continue
		}
		files, err := b.files(ctx, name)
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("looking for %q: %w", stepFiles[name].object, err)
		}
		if files > 0 {
			given = append(given, name)
		}
	}
	return given, nil
}

// files is how many there are of one of stepFiles.
func (b *Backend) files(ctx context.Context, name string) (int, error) {
	if file := stepFiles[name]; file.isSecret {
		secret, err := b.core.CoreV1().Secrets(b.namespace).Get(ctx, file.object, metav1.GetOptions{})
		if err != nil {
			return 0, err
		}
		return len(secret.Data), nil
	}
	cm, err := b.core.CoreV1().ConfigMaps(b.namespace).Get(ctx, stepFiles[name].object, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	return len(cm.Data) + len(cm.BinaryData), nil
}

// DeleteRun implements backend.Backend. The Build stays until its pod is gone, if
// whoever made that lets the pod hold it.
func (b *Backend) DeleteRun(ctx context.Context, o backend.Observation) error {
	return b.deleteBuild(ctx, "deleting Build", o, metav1.DeletePropagationForeground)
}

func (b *Backend) deleteBuild(ctx context.Context, what string, o backend.Observation, propagation metav1.DeletionPropagation) error {
	if o.UID == "" {
		return nil
	}
	name := names.Build(o.RenderedConfig)
	err := b.builds.BuildV1().Builds(b.namespace).Delete(ctx, name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(o.UID)), PropagationPolicy: &propagation,
	})
	return inputs.Gone(err, what, name)
}

// Abandon implements backend.Backend. It lets go of the pod, as "kubectl delete
// --force" does, and then of the Build.
func (b *Backend) Abandon(ctx context.Context, o backend.Observation) error {
	pods, err := b.pods(ctx, o)
	if err != nil {
		return err
	}
	now := int64(0)
	for _, p := range pods {
		err := b.core.CoreV1().Pods(b.namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
			Preconditions: metav1.NewUIDPreconditions(string(p.UID)), GracePeriodSeconds: &now,
		})
		if err := inputs.Gone(err, "abandoning build pod", p.Name); err != nil {
			return err
		}
	}
	return b.deleteBuild(ctx, "abandoning Build", o, metav1.DeletePropagationBackground)
}

// pods are those that the controller of Builds made of a run.
func (b *Backend) pods(ctx context.Context, o backend.Observation) ([]corev1.Pod, error) {
	name := names.Build(o.RenderedConfig)
	list, err := b.core.CoreV1().Pods(b.namespace).List(ctx, metav1.ListOptions{
		LabelSelector: labels.Set{buildv1.BuildLabel: names.BuildLabel(name)}.String(),
	})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of Build %q: %w", name, err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		return !slices.ContainsFunc(p.OwnerReferences, func(r metav1.OwnerReference) bool { return r.UID == o.UID })
	}), nil
}

// Remove implements backend.Backend.
func (b *Backend) Remove(ctx context.Context, o backend.Observation) error {
	return b.inputs.Remove(ctx, o, b.DeleteRun)
}

// Log implements backend.Backend.
func (b *Backend) Log(ctx context.Context, o backend.Observation) ([]string, error) {
	if o.UID == "" {
		return nil, nil
	}
	pods, err := b.pods(ctx, o)
	if err != nil {
		return nil, err
	}
	var out []string
	var failures []error
	for i := range pods {
		lines, err := podlog.Read(ctx, b.core, &pods[i], podlog.Options{Cut: podlog.LongestLine})
		out, failures = append(out, lines...), append(failures, err)
	}
	return out, errors.Join(failures...)
}
