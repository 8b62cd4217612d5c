package live

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// History remembers every build pod that existed while it watched, and the
// last that was seen of it: a pod that did well is deleted soon.
type History struct {
	mu    sync.Mutex
	order []types.UID
	pods  map[types.UID]*corev1.Pod
	seen  map[types.UID]time.Time
}

// WatchBuilds begins a history, which goes on until the context ends.
func (c *Cluster) WatchBuilds(ctx context.Context) (*History, error) {
	return c.WatchPods(ctx, api.LabelBuildPod)
}

// WatchPods is WatchBuilds for the pods that a label selector selects.
func (c *Cluster) WatchPods(ctx context.Context, selector string) (*History, error) {
	options := metav1.ListOptions{LabelSelector: selector}
	client := c.Clients.Core.CoreV1().Pods(Namespace)
	list, err := client.List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("listing build pods: %w", err)
	}
	options.ResourceVersion = list.ResourceVersion
	events, err := client.Watch(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("watching build pods: %w", err)
	}
	h := &History{pods: map[types.UID]*corev1.Pod{}, seen: map[types.UID]time.Time{}}
	go func() {
		defer events.Stop()
		for event := range events.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok && event.Type != watch.Deleted {
				h.add(pod, time.Now())
			}
		}
	}()
	return h, nil
}

func (h *History) add(pod *corev1.Pod, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pods[pod.UID] == nil {
		h.order = append(h.order, pod.UID)
		h.seen[pod.UID] = now
	}
	h.pods[pod.UID] = pod
}

// Pods are all the pods of the history, oldest first.
func (h *History) Pods() []*corev1.Pod {
	h.mu.Lock()
	defer h.mu.Unlock()
	pods := make([]*corev1.Pod, len(h.order))
	for i, uid := range h.order {
		pods[i] = h.pods[uid]
	}
	return pods
}

// Last is the newest pod and when it was first seen; nil before there is one.
func (h *History) Last() (*corev1.Pod, time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.order) == 0 {
		return nil, time.Time{}
	}
	uid := h.order[len(h.order)-1]
	return h.pods[uid], h.seen[uid]
}

// Containers are the statuses of all containers of a pod in the order they run.
func Containers(pod *corev1.Pod) []corev1.ContainerStatus {
	return append(append([]corev1.ContainerStatus{}, pod.Status.InitContainerStatuses...), pod.Status.ContainerStatuses...)
}

// Started says whether a container of a pod runs or has run.
func Started(pod *corev1.Pod, container string) bool {
	for _, s := range Containers(pod) {
		if s.Name == container {
			return s.State.Running != nil || s.State.Terminated != nil
		}
	}
	return false
}

// Results are what the containers of a pod reported, by their names.
func Results(pod *corev1.Pod) map[string]buildspec.Result {
	results := map[string]buildspec.Result{}
	for _, s := range Containers(pod) {
		if s.State.Terminated == nil {
			continue
		}
		if r, err := buildspec.ParseResult(s.State.Terminated.Message); err == nil {
			results[s.Name] = r
		}
	}
	return results
}
