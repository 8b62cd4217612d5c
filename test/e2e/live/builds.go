package live

import (
	"context"
	"fmt"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AddBuild makes a Build.
func (c *Cluster) AddBuild(ctx context.Context, build *buildv1.Build) error {
	_, err := c.Clients.Build.BuildV1().Builds(Namespace).Create(ctx, build, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making Build %q: %w", build.Name, err)
	}
	return nil
}

// Build reads a Build.
func (c *Cluster) Build(ctx context.Context, name string) (*buildv1.Build, error) {
	build, err := c.Clients.Build.BuildV1().Builds(Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Build %q: %w", name, err)
	}
	return build, nil
}

// BuildEvents are the events about a Build, oldest first.
func (c *Cluster) BuildEvents(ctx context.Context, build *buildv1.Build) ([]Event, error) {
	events, err := c.events(ctx, Namespace, build.UID)
	if err != nil {
		return nil, fmt.Errorf("listing events of Build %q: %w", build.Name, err)
	}
	return events, nil
}

// DeleteBuilds removes all Builds, and returns when their pods are gone.
func (c *Cluster) DeleteBuilds(ctx context.Context) error {
	err := c.Clients.Build.BuildV1().Builds(Namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("deleting Builds: %w", err)
	}
	return Eventually(ctx, "the pods of Builds are gone", func(ctx context.Context) error {
		pods, err := c.Clients.Core.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: buildv1.BuildLabel})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d are there", len(pods.Items))
		}
		return err
	})
}

// SetSecret makes a Secret, or replaces it.
func (c *Cluster) SetSecret(ctx context.Context, name string, kind corev1.SecretType, data map[string]string) error {
	client := c.Clients.Core.CoreV1().Secrets(Namespace)
	if err := client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("replacing Secret %q: %w", name, err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Type: kind, StringData: data}
	if _, err := client.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("making Secret %q: %w", name, err)
	}
	return nil
}

// Run runs an image as it says itself, and not as root, and returns the pod's address.
// Whoever calls it deletes the pod.
func (c *Cluster) Run(ctx context.Context, name, image string) (string, error) {
	yes, none := true, int64(0)
	pods := c.Clients.Core.CoreV1().Pods(Namespace)
	_, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			SecurityContext:               &corev1.PodSecurityContext{RunAsNonRoot: &yes},
			TerminationGracePeriodSeconds: &none,
			Containers:                    []corev1.Container{{Name: "app", Image: image}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("making pod %q: %w", name, err)
	}
	address := ""
	err = Eventually(ctx, "pod "+name+" runs", func(ctx context.Context) error {
		pod, err := pods.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it is %s: %+v", pod.Status.Phase, pod.Status.ContainerStatuses)
		}
		address = pod.Status.PodIP
		return nil
	})
	return address, err
}
