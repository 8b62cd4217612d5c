package live

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// deployment is the name of the product's Deployment, and the value of the
// label k8s-app of its pods.
const deployment = "machine-os-builder"

// rolloutTimeout is as patient with kubectl as Eventually is.
const rolloutTimeout = "--timeout=6m"

// executor is the name of the Deployment that runs Builds.
const executor = "build-executor"

// kustomization puts the images that were just built in the place of the
// manifests' own. The overlay is named by a relative path, as kustomize wants.
const kustomization = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [%s]
images:
- name: localhost/machine-os-builder
  newName: %s
  newTag: %s
%s`

// Patches of what a Deployment is told of images; and assemble does not run as root, as
// mostly on OpenShift.
const (
	controllerPatch = `patches:
- target: {kind: Deployment, name: machine-os-builder}
  patch: |
    - {op: test, path: /spec/template/spec/containers/0/env/0/name, value: BUILDER_IMAGE}
    - {op: replace, path: /spec/template/spec/containers/0/env/0/value, value: "%s"}
`
	executorPatch = `patches:
- target: {kind: Deployment, name: build-executor}
  patch: |
    - {op: test, path: /spec/template/spec/containers/0/env/0/name, value: BUILDER_IMAGE}
    - {op: replace, path: /spec/template/spec/containers/0/env/0/value, value: "%s"}
    - {op: test, path: /spec/template/spec/containers/0/env/1/name, value: GIT_IMAGE}
    - {op: replace, path: /spec/template/spec/containers/0/env/1/value, value: "%s"}
    - {op: add, path: /spec/template/spec/containers/0/args/-, value: --allowed-uids=1-}
`
)

// Deploy installs the product from manifests/, or updates it, and waits until
// its new pod works.
func (c *Cluster) Deploy(ctx context.Context) error {
	if err := c.apply(ctx, filepath.Join("overlays", "kubernetes"), fmt.Sprintf(controllerPatch, c.BuilderImage)); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "wait", "--for=condition=Established", rolloutTimeout, "crd", "--all"); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "rollout", "status", "deployment/"+deployment, rolloutTimeout)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, c.ControllerLog(ctx))
	}
	return c.waitForLeader(ctx)
}

// apply applies a folder of manifests/ with the images that were just built.
func (c *Cluster) apply(ctx context.Context, folder, patch string) error {
	dir, err := os.MkdirTemp("", "deploy-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	folder, err = filepath.Rel(dir, filepath.Join(c.Root, "manifests", folder))
	if err != nil {
		return err
	}
	colon := strings.LastIndex(c.ControllerImage, ":")
	text := fmt.Sprintf(kustomization, folder, c.ControllerImage[:colon], c.ControllerImage[colon+1:], patch)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		return err
	}
	objects, err := c.Kubectl(ctx, "kustomize", dir)
	if err != nil {
		return err
	}
	// Every object names its namespace, and not all have the same.
	_, err = c.kubectl(ctx, objects, "apply", "--namespace=", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// DeployBuilds installs the Build kind and what runs it, and waits until that works.
func (c *Cluster) DeployBuilds(ctx context.Context) error {
	if err := c.apply(ctx, "builds", fmt.Sprintf(executorPatch, c.BuilderImage, c.GitImage)); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "rollout", "status", "deployment/"+executor, rolloutTimeout); err != nil {
		return fmt.Errorf("%w\n%s", err, c.ExecutorLog(ctx))
	}
	// A pool that asks for Builds is told that there are none until the controller knows of them.
	return Eventually(ctx, "the controller knows of Builds", func(ctx context.Context) error {
		log, err := c.Kubectl(ctx, "logs", "--tail=-1", "--selector", "k8s-app="+deployment)
		if err != nil {
			return err
		}
		if last := log[max(0, strings.LastIndex(log, `"Builds of build.openshift.io"`)):]; !strings.Contains(last, "served=true") {
			return fmt.Errorf("the controller's log says nothing of them")
		}
		return nil
	})
}

// RemoveBuilds removes them again, with all Builds.
func (c *Cluster) RemoveBuilds(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "delete", "--ignore-not-found", "--kustomize", filepath.Join(c.Root, "manifests", "builds"))
	return err
}

// ExecutorLog is the end of what the executor logged, for a failure's report.
func (c *Cluster) ExecutorLog(ctx context.Context) string { return c.logOf(ctx, executor) }

// waitForLeader returns once the old pod is gone and the new one works: it is
// ready as soon as it waits for the lease.
func (c *Cluster) waitForLeader(ctx context.Context) error {
	return Eventually(ctx, "the new controller pod holds the lease", func(ctx context.Context) error {
		pods, err := c.ControllerPods(ctx)
		if err != nil {
			return err
		}
		lease, err := c.Clients.Core.CoordinationV1().Leases(Namespace).Get(ctx, deployment, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading the lease: %w", err)
		}
		holder := ptr.Deref(lease.Spec.HolderIdentity, "")
		if len(pods) != 1 || !strings.HasPrefix(holder, pods[0].Name) {
			return fmt.Errorf("%d pods, lease held by %q", len(pods), holder)
		}
		return nil
	})
}

// ControllerPods are the controller's pods, those that are ending included.
func (c *Cluster) ControllerPods(ctx context.Context) ([]corev1.Pod, error) {
	return c.podsOf(ctx, deployment)
}

func (c *Cluster) podsOf(ctx context.Context, app string) ([]corev1.Pod, error) {
	list, err := c.Clients.Core.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: "k8s-app=" + app})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of %s: %w", app, err)
	}
	return list.Items, nil
}

// KillController ends the controller's process as a crash would: it has no
// time to give the lease back. The kubelet starts it again.
func (c *Cluster) KillController(ctx context.Context) error { return c.kill(ctx, deployment) }

// KillExecutor does that to what runs Builds.
func (c *Cluster) KillExecutor(ctx context.Context) error { return c.kill(ctx, executor) }

func (c *Cluster) kill(ctx context.Context, app string) error {
	pods, err := c.podsOf(ctx, app)
	if err != nil {
		return err
	}
	for _, p := range pods {
		for _, s := range p.Status.ContainerStatuses {
			_, id, _ := strings.Cut(s.ContainerID, "://")
			kill := exec.CommandContext(ctx, "ctr", "--address", c.Containerd, "--namespace", "k8s.io", "task", "kill", "--signal", "SIGKILL", id)
			if out, err := kill.CombinedOutput(); err != nil {
				return fmt.Errorf("killing container %s of pod %q: %w: %s", id, p.Name, err, out)
			}
		}
	}
	return nil
}

// RestartController replaces the controller's pod as a drained node would have
// it done, and waits until the new one works.
func (c *Cluster) RestartController(ctx context.Context) error {
	if _, err := c.Kubectl(ctx, "rollout", "restart", "deployment/"+deployment); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "rollout", "status", "deployment/"+deployment, rolloutTimeout); err != nil {
		return fmt.Errorf("%w\n%s", err, c.ControllerLog(ctx))
	}
	return c.waitForLeader(ctx)
}

// ControllerLog is the end of what the controller logged, for a failure's report.
func (c *Cluster) ControllerLog(ctx context.Context) string {
	return c.logOf(ctx, deployment)
}

func (c *Cluster) logOf(ctx context.Context, app string) string {
	out, err := c.Kubectl(ctx, "logs", "--tail=40", "--selector", "k8s-app="+app)
	if err != nil {
		return err.Error()
	}
	return out
}
