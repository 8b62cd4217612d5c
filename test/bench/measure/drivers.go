package measure

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// comparison is the namespace, and the pod in it, where one Dockerfile is built
// on two storage drivers.
const comparison = "machine-os-builder-bench"

//go:embed drivers.sh
var driversScript string

// Drivers is a pod that holds all inputs of a build with a custom Dockerfile as
// the product's own prepare container left them.
type Drivers struct {
	session *Session
	round   int
}

// NewDrivers runs a build of the product with a custom Dockerfile and makes a
// copy of its pod, in which a shell stands in the place of image-build.
func (s *Session) NewDrivers(ctx context.Context, pool string) (*Drivers, error) {
	_, err := s.run(ctx, pool, func(ctx context.Context, t *timeline) error {
		select {
		case pod := <-t.created:
			return s.copyPod(ctx, pod)
		case err := <-t.ended:
			return errors.Join(errors.New("the build ended without a pod"), err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for a build pod: %w", context.Cause(ctx))
		}
	})
	if err != nil {
		return nil, err
	}
	err = live.Eventually(ctx, "the comparison pod runs", func(ctx context.Context) error {
		pod, err := s.Clients.Core.CoreV1().Pods(comparison).Get(ctx, comparison, metav1.GetOptions{})
		if err == nil && pod.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("pod is %s: containers %v", pod.Status.Phase, live.Containers(pod))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &Drivers{session: s}, s.spread(ctx)
}

// copyPod takes a pod's ConfigMaps along into the comparison's namespace.
func (s *Session) copyPod(ctx context.Context, original *corev1.Pod) error {
	if err := s.makeNamespace(ctx); err != nil {
		return err
	}
	spec := *original.Spec.DeepCopy()
	spec.NodeName, spec.ServiceAccountName, spec.DeprecatedServiceAccount = "", "", ""
	spec.ActiveDeadlineSeconds = nil
	for _, name := range mounted(spec.Volumes) {
		if err := s.copyConfigMap(ctx, name); err != nil {
			return err
		}
	}
	var shell *corev1.Container
	for i, container := range spec.InitContainers {
		if container.Name == api.ContainerPrepare {
			shell = container.DeepCopy()
			spec.InitContainers = spec.InitContainers[i : i+1]
			break
		}
	}
	if shell == nil {
		return fmt.Errorf("copying pod %q: it has no container %s", original.Name, api.ContainerPrepare)
	}
	writable := false
	shell.Name, shell.Command, shell.Args = "shell", []string{"sleep", "infinity"}, nil
	shell.SecurityContext.ReadOnlyRootFilesystem = &writable
	spec.Containers = []corev1.Container{*shell}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: comparison}, Spec: spec}
	if _, err := s.Clients.Core.CoreV1().Pods(comparison).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making the comparison pod: %w", err)
	}
	return nil
}

// mounted are the names of the ConfigMaps that volumes hold.
func mounted(volumes []corev1.Volume) []string {
	var names []string
	for _, volume := range volumes {
		if volume.ConfigMap != nil {
			names = append(names, volume.ConfigMap.Name)
		}
		if volume.Projected == nil {
			continue
		}
		for _, source := range volume.Projected.Sources {
			if source.ConfigMap != nil {
				names = append(names, source.ConfigMap.Name)
			}
		}
	}
	return names
}

func (s *Session) makeNamespace(ctx context.Context) error {
	if err := s.removeNamespace(ctx); err != nil {
		return err
	}
	_, err := s.Clients.Core.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: comparison, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"},
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making namespace %q: %w", comparison, err)
	}
	return live.Eventually(ctx, "the namespace has a ServiceAccount", func(ctx context.Context) error {
		_, err := s.Clients.Core.CoreV1().ServiceAccounts(comparison).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (s *Session) removeNamespace(ctx context.Context) error {
	err := s.Clients.Core.CoreV1().Namespaces().Delete(ctx, comparison, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("deleting namespace %q: %w", comparison, err)
	}
	return live.Eventually(ctx, "the namespace of the comparison is gone", func(ctx context.Context) error {
		_, err := s.Clients.Core.CoreV1().Namespaces().Get(ctx, comparison, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("still there"), err)
	})
}

func (s *Session) copyConfigMap(ctx context.Context, name string) error {
	original, err := s.Clients.Core.CoreV1().ConfigMaps(live.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil // an optional volume
	}
	if err != nil {
		return fmt.Errorf("reading ConfigMap %q: %w", name, err)
	}
	// Where the cluster puts one of that name into every namespace, it stays.
	twin := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: original.Data, BinaryData: original.BinaryData}
	_, err = s.Clients.Core.CoreV1().ConfigMaps(comparison).Create(ctx, twin, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("copying ConfigMap %q: %w", name, err)
	}
	return nil
}

// spread marks the pod's storage so that ext4 puts the stores in it apart: see
// test/cluster, which does the same with the volumes of pods.
func (s *Session) spread(ctx context.Context) error {
	pod, err := s.Clients.Core.CoreV1().Pods(comparison).Get(ctx, comparison, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading the comparison pod: %w", err)
	}
	work := filepath.Dir(s.Logs)
	storage := filepath.Join(work, "kubelet", "pods", string(pod.UID), "volumes", "kubernetes.io~empty-dir", "storage")
	_ = exec.CommandContext(ctx, "chattr", "+T", storage).Run() // other file systems have no such mark, and need none
	return nil
}

// Round builds the Dockerfile once on each driver, overlay first in every other
// round, and returns the seconds that each took.
func (d *Drivers) Round(ctx context.Context) (overlay, vfs float64, err error) {
	d.round++
	order := "overlay vfs"
	if d.round%2 == 0 {
		order = "vfs overlay"
	}
	out, err := d.session.Kubectl(ctx, "exec", "--namespace", comparison, comparison, "--container", "shell", "--",
		"bash", "-c", driversScript, "bash", strconv.Itoa(d.round), order)
	if err != nil {
		return 0, 0, err
	}
	seconds := map[string]float64{}
	for line := range strings.Lines(out) {
		name, value, found := strings.Cut(strings.TrimSpace(line), " ")
		milliseconds, err := strconv.ParseFloat(value, 64)
		if found && err == nil {
			seconds[name] = milliseconds / 1000
		}
	}
	if seconds["overlay"] == 0 || seconds["vfs"] == 0 {
		return 0, 0, fmt.Errorf("comparing storage drivers: no times in %q", out)
	}
	return seconds["overlay"], seconds["vfs"], nil
}
