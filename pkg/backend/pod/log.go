package pod

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// longestLine is where a line of a log is cut when three containers have one.
const longestLine = 1 << 10

// partLine begins the line that names the container whose log follows; pkg/redact
// knows it.
const partLine = "==> "

// Log implements backend.Backend: the log of each container that has started,
// in their order, under its name.
func (b *Backend) Log(ctx context.Context, o backend.Observation) ([]string, error) {
	var out []string
	var failures []error
	read := printed{cut: longestLine / max(1, len(o.Parts))}
	for name, uid := range podsOf(o) {
		pod, err := b.informers.PodLister.Pods(b.namespace).Get(name)
		if apierrors.IsNotFound(err) || (err == nil && pod.UID != uid) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking up build pod of %q: %w", o.RenderedConfig, err)
		}
		if isPart(pod) {
			read.of = pod.Annotations[api.AnnotationArchitecture] + " "
		}
		lines, err := b.podLog(ctx, pod, read)
		out, failures = append(out, lines...), append(failures, err)
	}
	return out, errors.Join(failures...)
}

// printed is how the log of one pod is read.
type printed struct {
	// of begins the names of its containers.
	of string
	// cut is where a line is cut, so that all logs fit into a ConfigMap (1 MiB).
	cut int
}

func (b *Backend) podLog(ctx context.Context, pod *corev1.Pod, read printed) ([]string, error) {
	var out []string
	var failures []error
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if c.State.Running == nil && c.State.Terminated == nil {
			continue
		}
		lines, err := b.containerLog(ctx, pod.Name, c.Name, read.cut)
		if err != nil {
			failures = append(failures, fmt.Errorf("reading the log of container %s of %s/%s: %w", c.Name, Kind, pod.Name, err))
		}
		if len(lines) == 0 {
			continue
		}
		out = append(out, partLine+read.of+c.Name)
		for _, line := range lines {
			if strings.HasPrefix(line, partLine) {
				line = " " + line // no container speaks for another
			}
			out = append(out, line)
		}
	}
	return out, errors.Join(failures...)
}

func (b *Backend) containerLog(ctx context.Context, pod, container string, cut int) ([]string, error) {
	// Some lines more than are kept, because the kubelet counts a long one as several.
	lines := int64(2 * backend.LogLines)
	stream, err := b.client.CoreV1().Pods(b.namespace).GetLogs(pod, &corev1.PodLogOptions{Container: container, TailLines: &lines}).Stream(ctx)
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
