package kube

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// source is an informer that tells what a test says.
type source struct {
	cache.SharedIndexInformer
	cache.ResourceEventHandler
}

func (s *source) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	s.ResourceEventHandler = h
	return nil, nil
}

func versioned(name, version string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}}
}

func TestListen(t *testing.T) {
	var got []string
	brief := func(p *corev1.Pod) string {
		if p == nil {
			return "-"
		}
		return p.Name + p.ResourceVersion
	}
	s := &source{}
	if err := Listen(s, func(before, after *corev1.Pod) { got = append(got, brief(before)+">"+brief(after)) }); err != nil {
		t.Fatal(err)
	}
	s.OnAdd(versioned("a", "1"), true)
	s.OnUpdate(versioned("a", "1"), versioned("a", "2"))
	s.OnUpdate(versioned("a", "2"), versioned("a", "2")) // a resync
	s.OnDelete(versioned("a", "2"))
	s.OnDelete(cache.DeletedFinalStateUnknown{Key: "ns/b", Obj: versioned("b", "1")})
	s.OnDelete(cache.DeletedFinalStateUnknown{Key: "ns/c"})
	s.OnAdd(&corev1.ConfigMap{}, false)
	if want := []string{"->a1", "a1>a2", "a2>-", "b1>-"}; !slices.Equal(got, want) {
		t.Errorf("heard %v, want %v", got, want)
	}
}
