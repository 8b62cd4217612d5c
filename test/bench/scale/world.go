package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/test/bench/workload"
	"github.com/machine-os-builder/machine-os-builder/test/controlplane"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// makers is how many requests the bench itself has under way at once.
const makers = 8

// world is a control plane, a registry and a kubelet, in which one program of the product
// has work.
type world struct {
	*builds
	directory  string
	subject    subject
	kubeconfig string // of the program
	plane      *controlplane.ControlPlane
	clients    kube.Clients
	registry   *kubelet.Registry
	audit      *audit
	replicas   []*replica
	stop       context.CancelFunc
	played     chan struct{}
}

// newWorld starts what every world has: a control plane and a registry.
func newWorld(ctx context.Context, s subject) (_ *world, err error) {
	w := &world{subject: s}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.directory, err = os.MkdirTemp("", "scale"); err != nil {
		return nil, err
	}
	var flags []string
	if w.audit, flags, err = newAudit(w.directory); err != nil {
		return nil, err
	}
	manifests := filepath.Join("manifests", "overlays", "kubernetes")
	if w.plane, err = controlplane.Start(ctx, w.directory, manifests, flags...); err != nil {
		return nil, err
	}
	if w.clients, err = kube.NewClients(fast(w.plane.Config)); err != nil {
		return nil, err
	}
	w.registry = kubelet.NewRegistry()
	return w, nil
}

// newPoolWorld starts everything for builds of pools but the controller. A build takes
// the kubelet as long as run says.
func newPoolWorld(ctx context.Context, s subject, limit int, run time.Duration) (_ *world, err error) {
	w, err := newWorld(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if err := w.login(ctx); err != nil {
		return nil, err
	}
	if err := w.settings(ctx, limit); err != nil {
		return nil, err
	}
	if w.builds, err = w.play(ctx, kubelet.Options{Namespace: api.DefaultNamespace, Script: running(run), Plain: true}, func(ctx context.Context) (*builds, error) {
		return follow(ctx, w.clients, limit)
	}); err != nil {
		return nil, err
	}
	return w, nil
}

func running(d time.Duration) kubelet.Playwright {
	return kubelet.Always(kubelet.Script{Running: d, Outcome: kubelet.Succeed})
}

// login writes the connection of the program, with the rights of the manifests.
func (w *world) login(ctx context.Context) error {
	account, err := w.plane.ServiceAccount(ctx, api.DefaultNamespace, w.subject.name)
	if err != nil {
		return err
	}
	w.kubeconfig = filepath.Join(w.directory, "program.kubeconfig")
	return controlplane.WriteKubeconfig(w.kubeconfig, account.Host, account)
}

// play lets the kubelet play until the world is closed; before that it begins to follow.
func (w *world) play(ctx context.Context, o kubelet.Options, follow func(context.Context) (*builds, error)) (*builds, error) {
	playing, stop := context.WithCancel(ctx)
	w.stop, w.played = stop, make(chan struct{})
	o.Client, o.Registry = w.clients.Core, w.registry
	followed, err := follow(playing)
	if err != nil {
		close(w.played)
		return nil, err
	}
	node := kubelet.New(o)
	go func() {
		defer close(w.played)
		node.Run(playing)
	}()
	return followed, nil
}

// close ends what was started and removes its files.
func (w *world) close() {
	for _, r := range w.replicas {
		r.kill()
	}
	if w.stop != nil {
		w.stop()
		<-w.played
	}
	if w.registry != nil {
		w.registry.Close()
	}
	if w.plane != nil {
		w.plane.Stop()
	}
	_ = os.RemoveAll(w.directory) // it is a temporary one
}

// settings are those of a cluster that pushes and pulls with a login.
func (w *world) settings(ctx context.Context, limit int) error {
	if err := w.secrets(ctx, api.DefaultNamespace); err != nil {
		return err
	}
	for name, data := range map[string]map[string]string{
		api.ConfigMapBuildConfig: {
			api.KeyFinalImagePullspec:       w.registry.Host + "/scale/os",
			api.KeyFinalImagePushSecretName: "push",
			api.KeyBaseImagePullSecretName:  "pull",
			api.KeyMaxConcurrentBuilds:      strconv.Itoa(limit),
		},
		api.ConfigMapOSImageURL: {api.KeyBaseOSContainerImage: "registry.example.com/os/base:1", api.KeyReleaseVersion: "1"},
		api.ConfigMapServiceCA:  {api.ServiceCAKey: string(w.registry.CA)},
	} {
		_, err := w.clients.Core.CoreV1().ConfigMaps(api.DefaultNamespace).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data,
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("making ConfigMap %q: %w", name, err)
		}
	}
	return nil
}

// secrets are the Secrets push and pull.
func (w *world) secrets(ctx context.Context, namespace string) error {
	login := fmt.Appendf(nil, `{"auths":{%q:{"auth":"dXNlcjpwYXNz"},"registry.example.com":{"auth":"dXNlcjpwYXNz"}}}`, w.registry.Host)
	for _, name := range []string{"push", "pull"} {
		_, err := w.clients.Core.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson,
			Data: map[string][]byte{corev1.DockerConfigJsonKey: login},
		}, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("making Secret %q: %w", name, err)
		}
	}
	return nil
}

// makePools makes pools that are not opted in, and their configs.
func (w *world) makePools(ctx context.Context, prefix string, count int) ([]string, error) {
	var pools []string
	for i := range count {
		pools = append(pools, fmt.Sprintf("%s-%04d", prefix, i))
	}
	return pools, inParallel(pools, func(name string) error {
		seed := fnv.New64a()
		_, _ = seed.Write([]byte(name)) // never fails
		config, err := workload.Config("rendered-"+name+"-"+strconv.FormatUint(seed.Sum64(), 16), rand.New(rand.NewPCG(seed.Sum64(), 0)))
		if err != nil {
			return err
		}
		client := w.clients.MachineConfig.MachineconfigurationV1()
		if _, err := client.MachineConfigs().Create(ctx, config, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making MachineConfig %q: %w", config.Name, err)
		}
		want := workload.Pool(name, config.Name)
		pool, err := client.MachineConfigPools().Create(ctx, want, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("making pool %q: %w", name, err)
		}
		pool.Status = want.Status
		if _, err := client.MachineConfigPools().UpdateStatus(ctx, pool, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("giving pool %q its status: %w", name, err)
		}
		return nil
	})
}

// optIn labels pools.
func (w *world) optIn(ctx context.Context, pools []string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{%q:""}}}`, api.LabelLayeringEnabled)
	return inParallel(pools, func(pool string) error {
		w.label(pool)
		_, err := w.clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Patch(ctx, pool, types.MergePatchType, patch, metav1.PatchOptions{})
		if err != nil {
			return fmt.Errorf("opting pool %q in: %w", pool, err)
		}
		return nil
	})
}

// verify compares what the pools were annotated with to what the registry has
// and to the one run that each had.
func (w *world) verify(ctx context.Context, pools []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrong != nil {
		return w.wrong
	}
	err := inParallel(pools, func(pool string) error {
		known := w.pools[pool]
		if known == nil || len(known.runs) != 1 {
			return fmt.Errorf("pool %q has not exactly one build", pool)
		}
		run := known.runs[0]
		if !strings.HasPrefix(known.image, w.registry.Host+"/scale/os@sha256:") {
			return fmt.Errorf("pool %q is annotated with %q", pool, known.image)
		}
		labels, err := w.registry.Labels(known.image)
		if err != nil {
			return fmt.Errorf("the image of pool %q: %w", pool, err)
		}
		if labels[kubelet.LabelRun] != string(run.UID) || labels[api.ImageLabelInputsHash] != run.Annotations[api.AnnotationInputsHash] {
			return fmt.Errorf("pool %q is annotated with %s, which is not the image that pod %q made", pool, known.image, run.Name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	records, err := w.clients.Core.CoreV1().ConfigMaps(api.DefaultNamespace).List(ctx, metav1.ListOptions{LabelSelector: api.LabelRole + "=" + api.RoleRecord})
	if err != nil {
		return fmt.Errorf("listing build records: %w", err)
	}
	if len(records.Items) != len(pools) {
		return fmt.Errorf("%d build records for %d builds", len(records.Items), len(pools))
	}
	return nil
}

// inParallel does something for each item and returns the first error.
func inParallel(items []string, do func(string) error) error {
	var workers sync.WaitGroup
	errs := make(chan error, makers)
	next := make(chan string)
	for range makers {
		workers.Go(func() {
			var failed error
			for item := range next {
				if failed == nil {
					failed = do(item)
				}
			}
			errs <- failed
		})
	}
	for _, item := range items {
		next <- item
	}
	close(next)
	workers.Wait()
	for range makers {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}
