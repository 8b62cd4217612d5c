package live

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AddClaim makes a PersistentVolumeClaim and, as an administrator without a provisioner
// would, the volume that it is bound to: a directory of the node.
func (c *Cluster) AddClaim(ctx context.Context, name, dir string) error {
	capacity := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("10Gi")}
	modes := []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}
	noClass := ""
	_, err := c.Clients.Core.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			Capacity: capacity, AccessModes: modes,
			PersistentVolumeSource: corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: dir}},
			ClaimRef:               &corev1.ObjectReference{Namespace: Namespace, Name: name},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpExists}},
			}}}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating PersistentVolume %q: %w", name, err)
	}
	_, err = c.Clients.Core.CoreV1().PersistentVolumeClaims(Namespace).Create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: modes, StorageClassName: &noClass, VolumeName: name,
			Resources: corev1.VolumeResourceRequirements{Requests: capacity},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating PersistentVolumeClaim %q: %w", name, err)
	}
	return nil
}

// RemoveClaim removes both again, once no pod uses them.
func (c *Cluster) RemoveClaim(ctx context.Context, name string) error {
	claims, volumes := c.Clients.Core.CoreV1().PersistentVolumeClaims(Namespace), c.Clients.Core.CoreV1().PersistentVolumes()
	for what, remove := range map[string]func() error{
		"PersistentVolumeClaim": func() error { return claims.Delete(ctx, name, metav1.DeleteOptions{}) },
		"PersistentVolume":      func() error { return volumes.Delete(ctx, name, metav1.DeleteOptions{}) },
	} {
		if err := remove(); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting %s %q: %w", what, name, err)
		}
	}
	return Eventually(ctx, "the claim is gone", func(ctx context.Context) error {
		_, err := volumes.Get(ctx, name, metav1.GetOptions{})
		if err == nil {
			return fmt.Errorf("PersistentVolume %q is still there", name)
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}
