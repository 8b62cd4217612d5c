package inputs

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// Store keeps the inputs of the builds of one back-end.
type Store struct {
	client    kubernetes.Interface
	informers *kube.Informers
	namespace string
	builder   string
}

// New returns the store of a builder, one of the api.Builder values.
func New(client kubernetes.Interface, informers *kube.Informers, namespace, builder string) *Store {
	return &Store{client: client, informers: informers, namespace: namespace, builder: builder}
}

// Ensure makes the inputs of a build but its Dockerfile, and returns its root. It
// fails as backend.Backend's Start does.
func (s *Store) Ensure(ctx context.Context, r buildspec.Request) (*corev1.ConfigMap, error) {
	root, err := s.ensure(ctx, r, Root(r))
	if err != nil {
		return nil, err
	}
	return root, s.ensureAll(ctx, r, dependents(r, root))
}

// EnsureDockerfile makes the Dockerfile of a build, which tells of a run, if there is
// one already: made last, it says that the run was there.
func (s *Store) EnsureDockerfile(ctx context.Context, r buildspec.Request, root *corev1.ConfigMap, run types.UID) error {
	return s.ensureAll(ctx, r, dockerfiles(r, root, run))
}

func (s *Store) ensureAll(ctx context.Context, r buildspec.Request, all []*corev1.ConfigMap) error {
	for _, cm := range all {
		if _, err := s.ensure(ctx, r, cm); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) ensure(ctx context.Context, r buildspec.Request, want *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	client := s.client.CoreV1().ConfigMaps(s.namespace)
	made, err := client.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return nil, fmt.Errorf("creating build input %q: %w", want.Name, err)
		}
		return made, nil
	}
	have, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading build input %q: %w", want.Name, err)
	}
	if err := mine(r, "configmap/"+want.Name, have.ObjectMeta, want.ObjectMeta); err != nil {
		return nil, err
	}
	if reflect.DeepEqual(have.Data, want.Data) && runOf(have) == runOf(want) {
		return have, nil
	}
	// Somebody has edited it, or it tells of an earlier try.
	have.Data = want.Data
	if run := runOf(want); run != "" {
		have.Annotations[api.AnnotationRun] = string(run)
	}
	mended, err := client.Update(ctx, have, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("mending build input %q: %w", want.Name, err)
	}
	return mended, nil
}

// Roots are those of a pool's builds, as the cache shows them. The other inputs are
// large and cost nothing: Ensure asks the API server about the ones it needs.
func (s *Store) Roots(pool string) []*corev1.ConfigMap {
	return slices.DeleteFunc(s.informers.BuildMapsOf(pool), func(cm *corev1.ConfigMap) bool {
		return !s.holds(cm)
	})
}

// Runs are the runs of a pool that the inputs of builds tell of, by their roots' UIDs.
func (s *Store) Runs(pool string) map[types.UID]types.UID {
	runs := map[types.UID]types.UID{}
	for _, cm := range s.informers.BuildMapsOf(pool) {
		if run := runOf(cm); run != "" {
			for _, owner := range cm.OwnerReferences {
				runs[owner.UID] = run
			}
		}
	}
	return runs
}

func (s *Store) holds(cm *corev1.ConfigMap) bool {
	return isRoot(cm) && builderOf(cm.ObjectMeta) == s.builder
}

// Removing is true for a build that was asked to go: its root goes last, and tells.
func (s *Store) Removing(config string) bool {
	root := s.root(config)
	return root != nil && root.DeletionTimestamp != nil
}

// root is that of a config's build by this builder; nil for none.
func (s *Store) root(config string) *corev1.ConfigMap {
	// A lister's only error is "not found".
	cm, err := s.informers.BuildMapLister.ConfigMaps(s.namespace).Get(names.MachineConfigMap(config, 0))
	if err != nil || !s.holds(cm) {
		return nil
	}
	return cm
}

// WatchRemoved calls notify for each build that is gone, with what its root says;
// kind is as for Join.
func (s *Store) WatchRemoved(kind string, notify func(*backend.Observation)) error {
	return kube.Listen(s.informers.BuildMaps, func(before, after *corev1.ConfigMap) {
		if after == nil && s.holds(before) {
			notify(Join(kind, []*corev1.ConfigMap{before}).All()[0])
		}
	})
}

// Remove removes all of a build; deleteRun is for a run whose root is gone.
func (s *Store) Remove(ctx context.Context, o backend.Observation, deleteRun func(context.Context, backend.Observation) error) error {
	root := s.root(o.RenderedConfig)
	if root == nil {
		// The garbage collector has the run already, unless it was made by hand.
		return deleteRun(ctx, o)
	}
	name, foreground := root.Name, metav1.DeletePropagationForeground
	err := s.client.CoreV1().ConfigMaps(s.namespace).Delete(ctx, name, metav1.DeleteOptions{
		Preconditions:     metav1.NewUIDPreconditions(string(root.UID)),
		PropagationPolicy: &foreground,
	})
	return Gone(err, "deleting build input", name)
}

// Gone takes "not found" and "another one has that name" as done, of a deletion
// with the UID as its precondition.
func Gone(err error, what, name string) error {
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("%s %q: %w", what, name, err)
}
