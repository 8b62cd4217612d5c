package kube

import (
	"context"
	"encoding/json"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgclient "github.com/openshift/client-go/machineconfiguration/clientset/versioned"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

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
