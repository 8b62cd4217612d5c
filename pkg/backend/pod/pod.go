package pod

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/inputs"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// Kind is what users call a run of this back-end.
const Kind = "pod"

// Backend builds in pods.
type Backend struct {
	client    kubernetes.Interface
	namespace string
	informers *kube.Informers
	inputs    *inputs.Store
}

var _ backend.Backend = (*Backend)(nil)

// New returns the back-end for a namespace.
func New(client kubernetes.Interface, informers *kube.Informers, namespace string) *Backend {
	return &Backend{
		client: client, informers: informers, namespace: namespace,
		inputs: inputs.New(client, informers, namespace, api.BuilderCustomPod),
	}
}

// Watch implements backend.Backend.
func (b *Backend) Watch(notify func(before, after *backend.Observation)) error {
	if err := b.informers.Pods.AddIndexers(cache.Indexers{activeIndex: activeOf}); err != nil {
		return fmt.Errorf("indexing build pods: %w", err)
	}
	err := kube.Listen(b.informers.Pods, func(before, after *corev1.Pod) {
		if b.inputs.Removing(cmp.Or(after, before).Annotations[api.AnnotationRenderedConfig]) {
			return
		}
		others := b.others(cmp.Or(after, before))
		was, is := observePods(append(others, before)...), observePods(append(others, after)...)
		if inputs.Changed(was, is) {
			notify(was, is)
		}
	})
	if err != nil {
		return err
	}
	return b.inputs.WatchRemoved(Kind, func(gone *backend.Observation) { notify(gone, nil) })
}

// others are the cached pods of the same run, where there are several.
func (b *Backend) others(p *corev1.Pod) []*corev1.Pod {
	if !isPart(p) {
		return nil
	}
	config := p.Annotations[api.AnnotationRenderedConfig]
	return slices.Clip(slices.DeleteFunc(runs(b.informers.PodsOf(p.Annotations[api.AnnotationPool])), func(other *corev1.Pod) bool {
		return other.Name == p.Name || other.Annotations[api.AnnotationRenderedConfig] != config
	}))
}

// List implements backend.Backend.
func (b *Backend) List(ctx context.Context, pool string, live bool) ([]backend.Observation, error) {
	if !live {
		return observe(b.inputs.Roots(pool), runs(b.informers.PodsOf(pool))), nil
	}
	pods, err := b.livePods(ctx, pool)
	return observe(b.inputs.Roots(pool), pods), err
}

// livePods reads the pods of a pool's runs from the API server.
func (b *Backend) livePods(ctx context.Context, pool string) ([]*corev1.Pod, error) {
	list, err := b.client.CoreV1().Pods(b.namespace).List(ctx, metav1.ListOptions{LabelSelector: inputs.RunSelector(pool)})
	if err != nil {
		return nil, fmt.Errorf("listing build pods of pool %q: %w", pool, err)
	}
	var pods []*corev1.Pod
	for i := range list.Items {
		// A label holds a long name in part only.
		if p := &list.Items[i]; p.Annotations[api.AnnotationPool] == pool {
			pods = append(pods, p)
		}
	}
	return pods, nil
}

// activeIndex indexes the pods of active runs by their pool.
const activeIndex = "active"

func activeOf(obj any) ([]string, error) {
	p, ok := obj.(*corev1.Pod)
	if !ok || !inputs.IsRun(p.ObjectMeta) {
		return nil, nil
	}
	var o backend.Observation
	if observePod(&o, p); !o.Phase.Active() {
		return nil, nil
	}
	return []string{p.Annotations[api.AnnotationPool]}, nil
}

// Active implements backend.Backend.
func (b *Backend) Active() []string {
	return b.informers.Pods.GetIndexer().ListIndexFuncValues(activeIndex)
}

func runs(pods []*corev1.Pod) []*corev1.Pod {
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool { return !inputs.IsRun(p.ObjectMeta) })
}

// Start implements backend.Backend.
func (b *Backend) Start(ctx context.Context, r buildspec.Request) (types.UID, error) {
	root, err := b.inputs.Ensure(ctx, r)
	if err != nil {
		return "", err
	}
	if err := b.inputs.EnsureDockerfile(ctx, r, root, ""); err != nil {
		return "", err
	}
	if len(r.Architectures) > 0 {
		return b.ensureParts(ctx, r, root)
	}
	return b.ensureRun(ctx, r, run(r, root))
}

// ensureParts makes a pod for each architecture, those that are missing of a run
// that was begun as well as a new run's.
func (b *Backend) ensureParts(ctx context.Context, r buildspec.Request, root *corev1.ConfigMap) (types.UID, error) {
	pods, err := b.livePods(ctx, r.Pool.Name)
	if err != nil {
		return "", err
	}
	id := string(uuid.NewUUID())
	for _, p := range pods {
		a := p.Annotations
		if a[api.AnnotationRenderedConfig] == r.RenderedConfig && a[api.AnnotationInputsHash] == r.ID && a[api.AnnotationAttempt] == strconv.Itoa(r.Attempt) && isPart(p) {
			id = a[api.AnnotationRun]
		}
	}
	for _, architecture := range r.Architectures {
		if _, err := b.ensureRun(ctx, r, runPart(r, root, architecture, id)); err != nil {
			return "", err
		}
	}
	return types.UID(id), nil
}

func (b *Backend) ensureRun(ctx context.Context, r buildspec.Request, want *corev1.Pod) (types.UID, error) {
	client := b.client.CoreV1().Pods(b.namespace)
	made, err := client.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		if err != nil {
			return "", fmt.Errorf("creating build pod %q: %w", want.Name, err)
		}
		return made.UID, nil
	}
	have, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading build pod %q: %w", want.Name, err)
	}
	if err := inputs.MyRun(r, Kind+"/"+want.Name, have.ObjectMeta, want.ObjectMeta); err != nil {
		return "", err
	}
	if have.Annotations[api.AnnotationRun] != want.Annotations[api.AnnotationRun] {
		return "", &backend.ForeignObjectError{Object: Kind + "/" + want.Name, Why: "it is of another run"}
	}
	return have.UID, nil
}

// DeleteRun implements backend.Backend.
func (b *Backend) DeleteRun(ctx context.Context, o backend.Observation) error {
	if o.UID == "" {
		return nil
	}
	for name, uid := range podsOf(o) {
		if err := b.deletePod(ctx, "deleting build pod", name, uid, nil); err != nil {
			return err
		}
	}
	return nil
}

// Abandon implements backend.Backend. It is what "kubectl delete --force" does.
func (b *Backend) Abandon(ctx context.Context, o backend.Observation) error {
	now := int64(0)
	o.Parts = slices.DeleteFunc(slices.Clone(o.Parts), func(p backend.Part) bool { return p.Runs })
	for name, uid := range podsOf(o) {
		if err := b.deletePod(ctx, "abandoning build pod", name, uid, &now); err != nil {
			return err
		}
	}
	return nil
}

func (b *Backend) deletePod(ctx context.Context, what, name string, uid types.UID, grace *int64) error {
	err := b.client.CoreV1().Pods(b.namespace).Delete(ctx, name, metav1.DeleteOptions{
		Preconditions: metav1.NewUIDPreconditions(string(uid)), GracePeriodSeconds: grace,
	})
	return inputs.Gone(err, what, name)
}

// podsOf are the pods of a run, by name.
func podsOf(o backend.Observation) iter.Seq2[string, types.UID] {
	return func(yield func(string, types.UID) bool) {
		if len(o.Parts) == 0 {
			yield(names.Build(o.RenderedConfig), o.UID)
			return
		}
		for _, p := range o.Parts {
			if !yield(strings.TrimPrefix(p.Object, Kind+"/"), p.UID) {
				return
			}
		}
	}
}

// Remove implements backend.Backend.
func (b *Backend) Remove(ctx context.Context, o backend.Observation) error {
	return b.inputs.Remove(ctx, o, b.DeleteRun)
}
