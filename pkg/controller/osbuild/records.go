package osbuild

import (
	"context"
	"errors"
	"fmt"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

var errConfigChanged = errors.New("its spec is not the one that was looked at")

// writeRecord creates a record or replaces the one that is cached; a cache
// that is behind makes it fail with a conflict.
func (c *Controller) writeRecord(ctx context.Context, pool *mcfgv1.MachineConfigPool, r osbuild.Record) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	want := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Name: names.Record(r.RenderedConfig),
			Labels: map[string]string{
				api.LabelBuildPod:      "",
				api.LabelTargetPool:    names.LabelValue(r.Pool.Name),
				api.LabelDesiredConfig: names.LabelValue(r.RenderedConfig),
				api.LabelRole:          api.RoleRecord,
			},
			Annotations: map[string]string{
				api.AnnotationBuildObject:    "",
				api.AnnotationPool:           r.Pool.Name,
				api.AnnotationPoolUID:        string(r.Pool.UID),
				api.AnnotationRenderedConfig: r.RenderedConfig,
				api.AnnotationInputsHash:     r.InputsHash,
			},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: mcfgv1.GroupVersion.String(), Kind: "MachineConfigPool", Name: pool.Name, UID: pool.UID,
			}},
		},
		Data: map[string]string{api.KeyRecord: string(data)},
	}
	c.recorded.Store(want.Name, names.Content(data))
	client := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace)
	have, err := c.Informers.BuildMapLister.ConfigMaps(c.Namespace).Get(want.Name)
	if err == nil {
		want.ResourceVersion = have.ResourceVersion
		_, err = client.Update(ctx, want, metav1.UpdateOptions{})
	} else {
		_, err = client.Create(ctx, want, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			err = apierrors.NewConflict(corev1.Resource("configmaps"), want.Name, err)
		}
	}
	if err != nil {
		c.recorded.Delete(want.Name)
		return fmt.Errorf("writing build record %q: %w", want.Name, err)
	}
	return nil
}

func (c *Controller) deleteRecord(ctx context.Context, rendered string) error {
	name := names.Record(rendered)
	c.recorded.Delete(name)
	err := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting build record %q: %w", name, err)
	}
	return nil
}

// payload reads a rendered config and packs it for a build. A config that is
// no longer the one which the build was decided for is a conflict.
func (c *Controller) payload(ctx context.Context, rendered, specHash string) (buildspec.Payload, error) {
	mc, err := c.configs.read(ctx, rendered)
	if err != nil {
		return buildspec.Payload{}, err
	}
	if mc == nil {
		return buildspec.Payload{}, fmt.Errorf("MachineConfig %q was deleted meanwhile", rendered)
	}
	summary, err := osbuild.Summarize(mc)
	if err != nil {
		return buildspec.Payload{}, err
	}
	if summary.SpecHash != specHash {
		return buildspec.Payload{}, apierrors.NewConflict(mcfgv1.Resource("machineconfigs"), rendered, errConfigChanged)
	}
	data, err := document(mc)
	if err != nil {
		return buildspec.Payload{}, err
	}
	return buildspec.EncodePayload(data)
}
