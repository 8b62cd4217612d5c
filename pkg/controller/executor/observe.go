package executor

import (
	"context"
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/machine-os-builder/machine-os-builder/pkg/executor"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// observe gathers what a decision about a Build needs. The Build is nil when there is
// none, or none in the cache that is worth one: the event of a later one is to come.
func (c *Controller) observe(ctx context.Context, key string) (*buildv1.Build, executor.World, error) {
	var w executor.World
	name, err := cache.ParseObjectName(key)
	if err != nil {
		return nil, w, nil //nolint:nilerr // only names of objects become keys
	}
	// A lister's only error is "not found".
	b, err := c.Informers.BuildLister.Builds(name.Namespace).Get(name.Name)
	if err != nil {
		c.superseded.forget(key)
		return nil, w, nil //nolint:nilerr // it is gone
	}
	if c.superseded.has(key, b.ResourceVersion) {
		return nil, w, nil
	}
	if executor.Fresh(b) {
		b, err = c.Clients.Build.BuildV1().Builds(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, w, nil
		}
		if err != nil {
			return nil, w, fmt.Errorf("reading Build %q: %w", key, err)
		}
	}
	if w.Pod, err = c.pod(ctx, b); err != nil {
		return nil, w, err
	}
	return b, w, c.read(ctx, b, &w)
}

// decide plans for a Build. What is written of one that has ended, which somebody else
// did, is decided from the whole of it; the Build is nil when there is none to write.
func (c *Controller) decide(ctx context.Context, b *buildv1.Build, w executor.World) (*buildv1.Build, executor.Plan, error) {
	plan := executor.Next(b, w, c.Clock.Now())
	if plan.Status == nil || !kube.Ended(b) {
		return b, plan, nil
	}
	whole, err := c.Clients.Build.BuildV1().Builds(b.Namespace).Get(ctx, b.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, plan, nil
	}
	if err != nil {
		return nil, plan, fmt.Errorf("reading Build %q in namespace %q: %w", b.Name, b.Namespace, err)
	}
	if whole.UID != b.UID || !kube.Ended(whole) {
		return nil, plan, nil // the event of that one is to come
	}
	return whole, executor.Next(whole, w, c.Clock.Now()), nil
}

// pod returns the pod of a Build's pod's name; nil when there is none. What the cache
// does not show of a Build that has one is looked for once more: the Build may end by it.
func (c *Controller) pod(ctx context.Context, b *buildv1.Build) (*corev1.Pod, error) {
	name := names.BuildPod(b.Name)
	pod, err := c.Informers.PodLister.Pods(b.Namespace).Get(name)
	if err == nil {
		return pod, nil
	}
	if b.Status.Phase != buildv1.BuildPhasePending && b.Status.Phase != buildv1.BuildPhaseRunning {
		return nil, nil
	}
	return c.livePod(ctx, b.Namespace, name)
}

func (c *Controller) livePod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	pod, err := c.Clients.Core.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading pod %q in namespace %q: %w", name, namespace, err)
	}
	return pod, nil
}

// read reads the Secrets and ConfigMaps that the next decision depends on. They are
// read by name when they are needed, and never listed.
func (c *Controller) read(ctx context.Context, b *buildv1.Build, w *executor.World) error {
	needs := executor.Needs(b, w.Pod)
	w.Secrets, w.ConfigMaps = map[string]*corev1.Secret{}, map[string]*corev1.ConfigMap{}
	for _, name := range needs.Secrets {
		secret, err := c.Clients.Core.CoreV1().Secrets(b.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			w.Secrets[name] = secret
		} else if !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading Secret %q in namespace %q: %w", name, b.Namespace, err)
		}
	}
	for _, name := range needs.ConfigMaps {
		m, err := c.Clients.Core.CoreV1().ConfigMaps(b.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			w.ConfigMaps[name] = m
		} else if !apierrors.IsNotFound(err) {
			return fmt.Errorf("reading ConfigMap %q in namespace %q: %w", name, b.Namespace, err)
		}
	}
	return nil
}
