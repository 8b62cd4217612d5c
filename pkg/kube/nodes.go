package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
)

// EachNode reads the metadata of all nodes from the API server, page by page.
func EachNode(ctx context.Context, c Clients, do func(*metav1.PartialObjectMetadata)) error {
	nodes := c.Metadata.Resource(corev1.SchemeGroupVersion.WithResource("nodes"))
	list := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return nodes.List(ctx, o) })
	err := list.EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		if node, ok := obj.(*metav1.PartialObjectMetadata); ok {
			do(node)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	return nil
}
