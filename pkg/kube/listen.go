package kube

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// Listen calls handle for every change of an informer's objects, with what was
// and what is; the zero value stands for what does not exist. Tombstones are
// unwrapped, and updates that change nothing are left out.
func Listen[T interface {
	comparable
	metav1.Object
}](informer cache.SharedIndexInformer, handle func(before, after T),
) error {
	var none T
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if o, ok := obj.(T); ok {
				handle(none, o)
			}
		},
		UpdateFunc: func(before, after any) {
			b, okBefore := before.(T)
			a, okAfter := after.(T)
			if okBefore && okAfter && b.GetResourceVersion() != a.GetResourceVersion() {
				handle(b, a)
			}
		},
		DeleteFunc: func(obj any) {
			if t, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = t.Obj
			}
			if o, ok := obj.(T); ok {
				handle(o, none)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("listening to changes: %w", err)
	}
	return nil
}
