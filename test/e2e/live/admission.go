package live

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// restricted is a namespace that admits only pods of the restricted level.
const restricted = "e2e-restricted"

// AdmitRestricted asks the API server whether it would admit a pod like this
// where the Pod Security level restricted is enforced. Nothing is made of it.
func (c *Cluster) AdmitRestricted(ctx context.Context, pod *corev1.Pod) error {
	_, err := c.Clients.Core.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: restricted, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("making namespace %q: %w", restricted, err)
	}
	// The ServiceAccount may not be there yet; admission asks for it first.
	err = Eventually(ctx, "the namespace has a ServiceAccount", func(ctx context.Context) error {
		_, err := c.Clients.Core.CoreV1().ServiceAccounts(restricted).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if err != nil {
		return err
	}
	like := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "like-"}, Spec: *pod.Spec.DeepCopy()}
	like.Spec.NodeName = ""
	_, err = c.Clients.Core.CoreV1().Pods(restricted).Create(ctx, like, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}
