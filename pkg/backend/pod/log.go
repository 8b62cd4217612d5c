package pod

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend/podlog"
)

// Log implements backend.Backend: the log of each container that has started,
// in their order, under its name.
func (b *Backend) Log(ctx context.Context, o backend.Observation) ([]string, error) {
	var out []string
	var failures []error
	read := podlog.Options{Cut: podlog.LongestLine / max(1, len(o.Parts))}
	for name, uid := range podsOf(o) {
		pod, err := b.informers.PodLister.Pods(b.namespace).Get(name)
		if apierrors.IsNotFound(err) || (err == nil && pod.UID != uid) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("looking up build pod of %q: %w", o.RenderedConfig, err)
		}
		if isPart(pod) {
			read.Of = pod.Annotations[api.AnnotationArchitecture] + " "
		}
		lines, err := podlog.Read(ctx, b.client, pod, read)
		out, failures = append(out, lines...), append(failures, err)
	}
	return out, errors.Join(failures...)
}
