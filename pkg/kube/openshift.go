package kube

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	configv1 "github.com/openshift/api/config/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildconfig"
	"github.com/machine-os-builder/machine-os-builder/pkg/proxy"
	"github.com/machine-os-builder/machine-os-builder/pkg/registriesconf"
)

// What the cluster's configuration API has of registries, config.openshift.io/v1.
const (
	digestMirrorSets = "imagedigestmirrorsets"
	tagMirrorSets    = "imagetagmirrorsets"
	proxies          = "proxies"
	// clusterObject is the name of the one Proxy that counts.
	clusterObject = "cluster"
)

// serves says whether the cluster serves a kind of its configuration API. It is
// asked first, since a cluster without that API answers "forbidden" to who has no
// right to it.
func serves(c Clients, resource string) (bool, error) {
	if c.Dynamic == nil {
		return false, nil
	}
	if known := c.OpenShift; known != nil {
		return known.serves(c, resource)
	}
	kinds, err := servedKinds(c)
	return kinds[resource], err
}

func servedKinds(c Clients) (map[string]bool, error) {
	kinds := map[string]bool{}
	list, err := c.Core.Discovery().ServerResourcesForGroupVersion(configv1.GroupVersion.String())
	if apierrors.IsNotFound(err) {
		return kinds, nil
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the kinds of %s: %w", configv1.GroupVersion, err)
	}
	for _, r := range list.APIResources {
		kinds[r.Name] = true
	}
	return kinds, nil
}

// forgetKinds is after how long a cluster may have become another kind of cluster.
const forgetKinds = 10 * time.Minute

// KnownKinds are those of the configuration API, asked for once in a while: they
// are the same for all builds. It may be used by several goroutines.
type KnownKinds struct {
	Clock clock.PassiveClock

	mu    sync.Mutex
	kinds map[string]bool
	until time.Time
}

func (k *KnownKinds) serves(c Clients, resource string) (bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.Clock.Now(); k.kinds == nil || now.After(k.until) {
		kinds, err := servedKinds(c)
		if err != nil {
			return false, err
		}
		k.kinds, k.until = kinds, now.Add(forgetKinds)
	}
	return k.kinds[resource], nil
}

// clusterProxy reads what the cluster itself goes through. The status counts: its
// noProxy has the cluster's own networks.
func clusterProxy(ctx context.Context, c Clients) (proxy.Config, error) {
	served, err := serves(c, proxies)
	if err != nil || !served {
		return proxy.Config{}, err
	}
	found, err := c.Dynamic.Resource(configv1.GroupVersion.WithResource(proxies)).Get(ctx, clusterObject, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return proxy.Config{}, nil
	}
	if err != nil {
		return proxy.Config{}, forbidden(fmt.Errorf("reading Proxy %q: %w", clusterObject, err), "get", proxies)
	}
	var p configv1.Proxy
	if err := convert(found.Object, &p); err != nil {
		return proxy.Config{}, fmt.Errorf("reading Proxy %q: %w", clusterObject, err)
	}
	return proxy.Config{HTTP: p.Status.HTTPProxy, HTTPS: p.Status.HTTPSProxy, No: p.Status.NoProxy}, nil
}

func mirrorSets(ctx context.Context, c Clients) (registriesconf.MirrorSets, error) {
	var sets registriesconf.MirrorSets
	var err error
	if sets.Digest, err = list[configv1.ImageDigestMirrorSet](ctx, c, digestMirrorSets); err != nil {
		return sets, err
	}
	sets.Tag, err = list[configv1.ImageTagMirrorSet](ctx, c, tagMirrorSets)
	return sets, err
}

func list[T any](ctx context.Context, c Clients, resource string) ([]T, error) {
	served, err := serves(c, resource)
	if err != nil || !served {
		return nil, err
	}
	found, err := c.Dynamic.Resource(configv1.GroupVersion.WithResource(resource)).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, forbidden(fmt.Errorf("listing %s: %w", resource, err), "list", resource)
	}
	return convertAll[T](found, resource)
}

// errNoRight is a right that the controller lacks, which a user has to give.
type errNoRight struct {
	verb, resource string
	err            error
}

// Error says what is missing.
func (e *errNoRight) Error() string { return e.err.Error() }

// Unwrap returns the API server's answer.
func (e *errNoRight) Unwrap() error { return e.err }

// problem is for the administrator.
func (e *errNoRight) problem() buildconfig.Problem {
	return buildconfig.Problem{Object: "ServiceAccount of the controller", Text: fmt.Sprintf(
		"the controller may not %s %s.%s, which this cluster serves; apply the manifests of its version, those of the overlay for OpenShift", e.verb, e.resource, configv1.GroupName)}
}

func forbidden(err error, verb, resource string) error {
	if apierrors.IsForbidden(err) {
		return &errNoRight{verb, resource, err}
	}
	return err
}

// missingRight makes a problem of a right that is missing.
func missingRight(err error) (buildconfig.Problems, error) {
	var missing *errNoRight
	if errors.As(err, &missing) {
		return buildconfig.Problems{missing.problem()}, nil
	}
	return nil, err
}

func convertAll[T any](found *unstructured.UnstructuredList, resource string) ([]T, error) {
	all := make([]T, len(found.Items))
	for i := range found.Items {
		if err := convert(found.Items[i].Object, &all[i]); err != nil {
			return nil, fmt.Errorf("reading %s %q: %w", resource, found.Items[i].GetName(), err)
		}
	}
	return all, nil
}

func convert(from map[string]any, to any) error {
	return runtime.DefaultUnstructuredConverter.FromUnstructured(from, to)
}
