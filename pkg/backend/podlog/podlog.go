package podlog

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// LongestLine is where a line of a log is cut when three containers have one.
const LongestLine = 1 << 10

// partLine begins the line that names the container whose log follows; pkg/redact
// knows it.
const partLine = "==> "

// Options say how a pod's log is read.
type Options struct {
	// Of begins the names of its containers.
	Of string
	// Cut is where a line is cut, so that all logs fit into a ConfigMap (1 MiB).
	Cut int
}

// Read returns the log of each container that has started, in their order, under
// its name: the last backend.LogLines lines of each. What could be read is returned
// with the error about what could not.
func Read(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, o Options) ([]string, error) {
	var out []string
	var failures []error
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.State.Running == nil && c.State.Terminated == nil {
			continue
		}
		lines, err := containerLog(ctx, client, pod, c.Name, o.Cut)
		if err != nil {
			failures = append(failures, fmt.Errorf("reading the log of container %s of pod/%s: %w", c.Name, pod.Name, err))
		}
		if len(lines) == 0 {
			continue
		}
		out = append(out, partLine+o.Of+c.Name)
		for _, line := range lines {
			if strings.HasPrefix(line, partLine) {
				line = " " + line // no container speaks for another
			}
			out = append(out, line)
		}
	}
	return out, errors.Join(failures...)
}

func containerLog(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, container string, cut int) ([]string, error) {
	// Some lines more than are kept, because the kubelet counts a long one as several.
	lines := int64(2 * backend.LogLines)
	stream, err := client.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, TailLines: &lines}).Stream(ctx)
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	kept, err := lastLines(stream, cut)
	if len(kept) == 1 && strings.HasPrefix(kept[0], noLog) {
		return nil, err
	}
	return kept, err
}

// noLog begins what the kubelet answers, as if it were the log, for a container
// that it has removed (pkg/kubelet/kuberuntime).
const noLog = "unable to retrieve container logs for "

// lastLines keeps the last backend.LogLines lines, of each as much as fits.
func lastLines(r io.Reader, cut int) ([]string, error) {
	var lines []string
	reader := bufio.NewReaderSize(r, cut)
	for {
		line, long, err := reader.ReadLine()
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		text := strings.ToValidUTF8(string(line), "�")
		for long && err == nil {
			_, long, err = reader.ReadLine()
		}
		if len(lines) == backend.LogLines {
			lines = slices.Delete(lines, 0, 1)
		}
		lines = append(lines, text)
	}
}
