package kube

import (
	"context"
	"encoding/json"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	applyv1 "github.com/openshift/client-go/machineconfiguration/applyconfigurations/machineconfiguration/v1"
	mcfgclient "github.com/openshift/client-go/machineconfiguration/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
)

// ReadPool returns a pool from the cache or, live, from the API server; nil when
// there is none.
func ReadPool(ctx context.Context, c Clients, in *Informers, name string, live bool) (*mcfgv1.MachineConfigPool, error) {
	var pool *mcfgv1.MachineConfigPool
	var err error
	if live {
		pool, err = c.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(ctx, name, metav1.GetOptions{})
	} else {
		pool, err = in.PoolLister.Get(name)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading pool %q: %w", name, err)
	}
	return pool, nil
}

// AnnotatePool sets annotations of a pool, or removes those whose value is
// empty, and touches nothing else. The write fails with a conflict when the
// pool is no longer at the given resourceVersion.
func AnnotatePool(ctx context.Context, c mcfgclient.Interface, pool *mcfgv1.MachineConfigPool, annotations map[string]string) (*mcfgv1.MachineConfigPool, error) {
	values := map[string]any{}
	for k, v := range annotations {
		values[k] = v
		if v == "" {
			values[k] = nil
		}
	}
	return patchPool(ctx, c, pool, map[string]any{
		"metadata": map[string]any{"resourceVersion": pool.ResourceVersion, "annotations": values},
	})
}

// SetPoolConditions writes the whole condition list of a pool, guarded as
// above. A patch of that one field keeps fields of the status that this
// program's API types do not know.
func SetPoolConditions(ctx context.Context, c mcfgclient.Interface, pool *mcfgv1.MachineConfigPool, conditions []mcfgv1.MachineConfigPoolCondition) (*mcfgv1.MachineConfigPool, error) {
	return patchPool(ctx, c, pool, map[string]any{
		"metadata": map[string]any{"resourceVersion": pool.ResourceVersion},
		"status":   map[string]any{"conditions": conditions},
	}, "status")
}

// SetPoolStatus writes what a pool's status tells of its machines, and the
// whole condition list, guarded as above.
func SetPoolStatus(ctx context.Context, c mcfgclient.Interface, pool *mcfgv1.MachineConfigPool, s mcfgv1.MachineConfigPoolStatus) (*mcfgv1.MachineConfigPool, error) {
	return patchPool(ctx, c, pool, map[string]any{
		"metadata": map[string]any{"resourceVersion": pool.ResourceVersion},
		"status": map[string]any{
			"observedGeneration": s.ObservedGeneration, "configuration": s.Configuration, "conditions": s.Conditions,
			"machineCount": s.MachineCount, "updatedMachineCount": s.UpdatedMachineCount, "readyMachineCount": s.ReadyMachineCount,
			"unavailableMachineCount": s.UnavailableMachineCount, "degradedMachineCount": s.DegradedMachineCount,
		},
	}, "status")
}

// SetPoolConfiguration makes a rendered config, with what it was made of, the
// one that a pool targets. It owns that field alone, by server-side apply, and
// takes it from whoever had it. The write fails when the pool is gone, with a
// conflict, and when another one of its name is there.
func SetPoolConfiguration(ctx context.Context, c mcfgclient.Interface, pool *mcfgv1.MachineConfigPool, rendered string, sources []corev1.ObjectReference, manager string) error {
	configuration := applyv1.MachineConfigPoolStatusConfiguration().
		WithAPIVersion(mcfgv1.GroupVersion.String()).WithKind("MachineConfig").WithName(rendered)
	for _, s := range sources {
		configuration.WithSource(applycorev1.ObjectReference().WithAPIVersion(s.APIVersion).WithKind(s.Kind).WithName(s.Name))
	}
	_, err := c.MachineconfigurationV1().MachineConfigPools().Apply(ctx,
		applyv1.MachineConfigPool(pool.Name).WithUID(pool.UID).WithSpec(applyv1.MachineConfigPoolSpec().WithConfiguration(configuration)),
		metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		return fmt.Errorf("setting the configuration of pool %q: %w", pool.Name, err)
	}
	return nil
}

func patchPool(ctx context.Context, c mcfgclient.Interface, pool *mcfgv1.MachineConfigPool, patch map[string]any, subresources ...string) (*mcfgv1.MachineConfigPool, error) {
	data, err := json.Marshal(patch)
	if err != nil {
		return nil, fmt.Errorf("encoding patch of pool %q: %w", pool.Name, err)
	}
	updated, err := c.MachineconfigurationV1().MachineConfigPools().Patch(ctx, pool.Name, types.MergePatchType, data, metav1.PatchOptions{}, subresources...)
	if err != nil {
		return nil, fmt.Errorf("patching pool %q: %w", pool.Name, err)
	}
	updated.SetManagedFields(nil)
	return updated, nil
}

// AllPools are the cached ones, in no order.
func (in *Informers) AllPools() []*mcfgv1.MachineConfigPool {
	pools, err := in.PoolLister.List(labels.Everything())
	if err != nil {
		return nil // a lister's List has no error to give
	}
	return pools
}
