package live

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Levels of Pod Security, as the label of a namespace names them.
const (
	Baseline   = "baseline"
	Restricted = "restricted"
)

const labelEnforce = "pod-security.kubernetes.io/enforce"

// PodSecurity is the level that the product's namespace enforces.
func (c *Cluster) PodSecurity(ctx context.Context) (string, error) {
	ns, err := c.Clients.Core.CoreV1().Namespaces().Get(ctx, Namespace, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("reading namespace %q: %w", Namespace, err)
	}
	return ns.Labels[labelEnforce], nil
}

// EnforcePodSecurity sets that level.
func (c *Cluster) EnforcePodSecurity(ctx context.Context, level string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:%q}}}`, labelEnforce, level)
	_, err := c.Clients.Core.CoreV1().Namespaces().Patch(ctx, Namespace, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("setting the level of namespace %q: %w", Namespace, err)
	}
	return nil
}

// restricted is a namespace that admits only pods of the restricted level.
const restricted = "e2e-restricted"

// AdmitRestricted asks the API server whether it would admit a pod like this
// where the Pod Security level restricted is enforced. Nothing is made of it.
func (c *Cluster) AdmitRestricted(ctx context.Context, pod *corev1.Pod) error {
	_, err := c.Clients.Core.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: restricted, Labels: map[string]string{labelEnforce: Restricted},
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
