package kube

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	mcfgfake "github.com/openshift/client-go/machineconfiguration/clientset/versioned/fake"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
)

// TestPatchesTouchOnlyTheirOwn compares the patches themselves.
func TestPatchesTouchOnlyTheirOwn(t *testing.T) {
	pool := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: "worker", ResourceVersion: "7", Annotations: map[string]string{"theirs": "x", "ours": "y"}}}
	for name, row := range map[string]struct {
		do          func(*mcfgfake.Clientset) error
		subresource string
		want        string
	}{
		"annotate": {func(c *mcfgfake.Clientset) error {
			_, err := AnnotatePool(t.Context(), c, pool, map[string]string{"ours": "new", "gone": ""})
			return err
		}, "", `{"metadata":{"resourceVersion":"7","annotations":{"ours":"new","gone":null}}}`},
		"conditions": {func(c *mcfgfake.Clientset) error {
			_, err := SetPoolConditions(t.Context(), c, pool, []mcfgv1.MachineConfigPoolCondition{{Type: "A", Status: "True", Reason: "R"}})
			return err
		}, "status", `{"metadata":{"resourceVersion":"7"},"status":{"conditions":[{"type":"A","status":"True","reason":"R","message":"","lastTransitionTime":null}]}}`},
	} {
		c := mcfgfake.NewSimpleClientset(pool.DeepCopy())
		if err := row.do(c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		patch, ok := c.Actions()[0].(clienttesting.PatchAction)
		if !ok || patch.GetPatchType() != types.MergePatchType || patch.GetSubresource() != row.subresource {
			t.Fatalf("%s: it is %v", name, c.Actions()[0])
		}
		var got, want any
		if err := json.Unmarshal(patch.GetPatch(), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(row.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if _, err := AnnotatePool(t.Context(), mcfgfake.NewSimpleClientset(), pool, nil); !apierrors.IsNotFound(err) {
		t.Errorf("a pool that is gone: error %v", err)
	}
}
