package kube

import (
	"context"
	"encoding/json"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgclient "github.com/openshift/client-go/machineconfiguration/clientset/versioned"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
