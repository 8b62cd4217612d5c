package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/test/bench/proc"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// deployment is the product's Deployment.
const deployment = "machine-os-builder"

// Scale sets the number of the product's replicas and waits for it.
func (s *Session) Scale(ctx context.Context, replicas int) error {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, err := s.Clients.Core.AppsV1().Deployments(live.Namespace).Patch(ctx, deployment, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("scaling Deployment %q: %w", deployment, err)
	}
	return live.Eventually(ctx, fmt.Sprintf("the Deployment has %d pods", replicas), func(ctx context.Context) error {
		pods, err := s.ControllerPods(ctx)
		if err != nil {
			return err
		}
		ready := 0
		for _, p := range pods {
			for _, condition := range p.Status.Conditions {
				if condition.Type == corev1.PodReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		if len(pods) != replicas || ready != replicas {
			return fmt.Errorf("%d pods, %d of them ready", len(pods), ready)
		}
		return nil
	})
}

var errNoController = errors.New("not exactly one controller pod")

func (s *Session) controllerPod(ctx context.Context) (*corev1.Pod, error) {
	pods, err := s.ControllerPods(ctx)
	if err != nil {
		return nil, err
	}
	if len(pods) != 1 {
		return nil, fmt.Errorf("%w: %d", errNoController, len(pods))
	}
	return &pods[0], nil
}

// syncMetric counts the syncs of the loop that builds.
const syncMetric = `workqueue_work_duration_seconds_count{name="osbuild"}`

// deployedSyncs asks the controller's own metrics; 0 before its first sync.
func (s *Session) deployedSyncs(ctx context.Context) (float64, error) {
	pod, err := s.controllerPod(ctx)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+pod.Status.PodIP+":8080/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("reading the controller's metrics: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, fmt.Errorf("reading the controller's metrics: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, found := strings.CutPrefix(line, syncMetric+" "); found {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, nil
}

// ControllerMemory reads the memory of the controller's process from the
// node's /proc, the node being this machine.
func (s *Session) ControllerMemory(ctx context.Context) (proc.Memory, error) {
	pod, err := s.controllerPod(ctx)
	if err != nil {
		return proc.Memory{}, err
	}
	directories, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return proc.Memory{}, err
	}
	for _, directory := range directories {
		groups, err := os.ReadFile(filepath.Join(directory, "cgroup"))
		if err != nil || !strings.Contains(string(groups), string(pod.UID)) {
			continue // of another pod, or ended meanwhile
		}
		program, err := os.ReadFile(filepath.Join(directory, "comm"))
		if err != nil || !strings.HasPrefix(deployment, strings.TrimSpace(string(program))) {
			continue // the pod's sandbox
		}
		return proc.ReadMemory(directory)
	}
	return proc.Memory{}, fmt.Errorf("finding the controller's process: none in pod %q", pod.Name)
}

// BuildPools makes so many pools, opts all in at once and waits until each has
// its image. They stay.
func (s *Session) BuildPools(ctx context.Context, count int) error {
	configs := map[string]string{}
	for i := range count {
		pool := fmt.Sprintf("many-%d", i)
		config, err := s.newConfig(ctx, pool)
		if err != nil {
			return err
		}
		if err := s.AddPool(ctx, pool, config); err != nil {
			return err
		}
		configs[pool] = config
	}
	for pool := range configs {
		if err := s.OptIn(ctx, pool); err != nil {
			return err
		}
	}
	for pool, config := range configs {
		err := live.Eventually(ctx, "pool "+pool+" is built", func(ctx context.Context) error {
			p, err := s.Pool(ctx, pool)
			if err != nil {
				return err
			}
			_, err = live.Built(p, config)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
