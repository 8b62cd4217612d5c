package retention

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/retention"
)

// mark sets the marks of images, or removes them by the zero time: one write
// for each record.
func (c *Controller) mark(ctx context.Context, images []retention.Image, since time.Time) error {
	seen := map[string]bool{}
	for _, i := range images {
		if seen[i.RenderedConfig] {
			continue
		}
		seen[i.RenderedConfig] = true
		err := c.rewrite(ctx, i.RenderedConfig, func(r osbuild.Record) (osbuild.Record, bool) {
			return retention.Mark(r, images, since), true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// gone takes an image that is no longer there, or no longer ours to delete, out
// of its record.
func (c *Controller) gone(ctx context.Context, pool string, i retention.Image) error {
	err := c.rewrite(ctx, i.RenderedConfig, func(r osbuild.Record) (osbuild.Record, bool) {
		return retention.Forget(r, i.Pullspec)
	})
	if err == nil {
		delete(c.holds[pool], i.Pullspec)
	}
	return err
}

// drop removes a record that names no image.
func (c *Controller) drop(ctx context.Context, config string) error {
	return c.rewrite(ctx, config, func(r osbuild.Record) (osbuild.Record, bool) {
		return r, r.Image != "" || len(r.Superseded) > 0
	})
}

// rewrite changes a record as it stands at the API server, or removes it when
// change says so; a write of somebody else in between is a conflict.
func (c *Controller) rewrite(ctx context.Context, config string, change func(osbuild.Record) (osbuild.Record, bool)) error {
	client, name := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace), names.Record(config)
	m, err := client.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading build record %q: %w", name, err)
	}
	// One that cannot be read names no image; it can only be removed.
	r, unreadable := osbuild.ParseRecord([]byte(m.Data[api.KeyRecord]))
	r, stays := change(r)
	switch {
	case !stays:
		err = client.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &m.UID, ResourceVersion: &m.ResourceVersion}})
	case unreadable == nil:
		err = c.update(ctx, m, r)
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("writing build record %q: %w", name, err)
	}
	return nil
}

func (c *Controller) update(ctx context.Context, m *corev1.ConfigMap, r osbuild.Record) error {
	data, err := r.Encode()
	if err != nil || string(data) == m.Data[api.KeyRecord] {
		return err
	}
	m.Data[api.KeyRecord] = string(data)
	_, err = c.Clients.Core.CoreV1().ConfigMaps(c.Namespace).Update(ctx, m, metav1.UpdateOptions{})
	return err
}
