package live

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// Reset removes all pools, which takes every build with them, the MachineConfigs
// that pools can select, and the user's settings; it returns when nothing is left.
// Rendered configs of the tests' own and images stay.
func (c *Cluster) Reset(ctx context.Context) error {
	pools := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools()
	if err := pools.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return fmt.Errorf("deleting pools: %w", err)
	}
	configs := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs()
	if err := configs.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: RoleLabel}); err != nil {
		return fmt.Errorf("deleting MachineConfigs: %w", err)
	}
	for _, name := range []string{
		api.ConfigMapBuildConfig, api.ConfigMapOSImageURL, api.ConfigMapCustomDockerfile,
		api.ConfigMapUserCA, api.ConfigMapRegistries, api.ConfigMapYumRepos,
	} {
		err := c.Clients.Core.CoreV1().ConfigMaps(Namespace).Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting ConfigMap %q: %w", name, err)
		}
	}
	for _, name := range []string{api.SecretEntitlement, api.SecretRPMKeys} {
		err := c.Clients.Core.CoreV1().Secrets(Namespace).Delete(ctx, name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting Secret %q: %w", name, err)
		}
	}
	return Eventually(ctx, "the objects of earlier builds are gone", func(ctx context.Context) error {
		left, err := c.BuildObjects(ctx, "")
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("still there: %s", strings.Join(left, ", "))
		}
		return err
	})
}

// BuildObjects names the objects of all builds, or of those of one pool.
func (c *Cluster) BuildObjects(ctx context.Context, pool string) ([]string, error) {
	selector := api.LabelBuildPod
	if pool != "" {
		selector += "," + api.LabelTargetPool + "=" + pool
	}
	options := metav1.ListOptions{LabelSelector: selector}
	pods, err := c.Clients.Core.CoreV1().Pods(Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("listing build pods: %w", err)
	}
	maps, err := c.Clients.Core.CoreV1().ConfigMaps(Namespace).List(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("listing build ConfigMaps: %w", err)
	}
	var found []string
	for _, p := range pods.Items {
		found = append(found, "pod/"+p.Name)
	}
	for _, m := range maps.Items {
		found = append(found, "configmap/"+m.Name)
	}
	return found, nil
}

// SetConfigMap makes a ConfigMap, or replaces its data.
func (c *Cluster) SetConfigMap(ctx context.Context, name string, data map[string]string) error {
	client := c.Clients.Core.CoreV1().ConfigMaps(Namespace)
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data}
	_, err := client.Update(ctx, cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.Create(ctx, cm, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing ConfigMap %q: %w", name, err)
	}
	return nil
}

// TrustByUsers puts the registries' certificate authority where users put theirs,
// and nowhere else.
func (c *Cluster) TrustByUsers(ctx context.Context) error {
	if err := c.SetConfigMap(ctx, api.ConfigMapServiceCA, nil); err != nil {
		return err
	}
	return c.SetConfigMap(ctx, api.ConfigMapUserCA, map[string]string{api.UserCAKey: c.ca})
}

// TrustRegistries writes the ConfigMap with the certificate authority that
// build pods trust beside the system's.
func (c *Cluster) TrustRegistries(ctx context.Context) error {
	return c.SetConfigMap(ctx, api.ConfigMapServiceCA, map[string]string{api.ServiceCAKey: c.ca})
}

// SetPullSecret makes the Secret of the given type with the login of the
// registry that asks for one, and the canary.
func (c *Cluster) SetPullSecret(ctx context.Context, name string, kind corev1.SecretType) error {
	return c.SetLogins(ctx, name, kind, c.AuthLogin())
}

// SetLogins makes the Secret of the given type with these logins and the canary,
// or replaces it.
func (c *Cluster) SetLogins(ctx context.Context, name string, kind corev1.SecretType, logins ...Login) error {
	auths := map[string]any{}
	for _, l := range append(logins, c.Canary) {
		auths[l.Host] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(l.User + ":" + l.Password))}
	}
	key, content := corev1.DockerConfigKey, any(auths)
	if kind == corev1.SecretTypeDockerConfigJson {
		key, content = corev1.DockerConfigJsonKey, map[string]any{"auths": auths}
	}
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return c.SetSecret(ctx, name, kind, map[string]string{key: string(data)})
}

// Record reads the build record of a rendered config.
func (c *Cluster) Record(ctx context.Context, config string) (osbuild.Record, error) {
	cm, err := c.Clients.Core.CoreV1().ConfigMaps(Namespace).Get(ctx, names.Record(config), metav1.GetOptions{})
	if err != nil {
		return osbuild.Record{}, fmt.Errorf("reading the build record of %q: %w", config, err)
	}
	return osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
}

// SetMachineConfig makes a MachineConfig, or replaces its spec.
func (c *Cluster) SetMachineConfig(ctx context.Context, mc *mcfgv1.MachineConfig) error {
	client := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigs()
	_, err := client.Create(ctx, mc, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		var have *mcfgv1.MachineConfig
		if have, err = client.Get(ctx, mc.Name, metav1.GetOptions{}); err == nil {
			have.Spec = mc.Spec
			_, err = client.Update(ctx, have, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("writing MachineConfig %q: %w", mc.Name, err)
	}
	return nil
}

// AddPool makes a pool that targets a rendered config and is not opted in.
func (c *Cluster) AddPool(ctx context.Context, name, config string) error {
	pool := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	pool.Spec.Configuration.Name = config
	_, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Create(ctx, pool, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making pool %q: %w", name, err)
	}
	return nil
}

// RoleLabel is by which the tests' pools select MachineConfigs.
const RoleLabel = "machineconfiguration.openshift.io/role"

// AddRenderedPool makes a pool that selects the MachineConfigs and nodes of a
// role of its name, and is not opted in.
func (c *Cluster) AddRenderedPool(ctx context.Context, name string) error {
	pool := &mcfgv1.MachineConfigPool{ObjectMeta: metav1.ObjectMeta{Name: name}}
	pool.Spec.MachineConfigSelector = &metav1.LabelSelector{MatchLabels: map[string]string{RoleLabel: name}}
	pool.Spec.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"node-role.kubernetes.io/" + name: ""}}
	_, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Create(ctx, pool, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("making pool %q: %w", name, err)
	}
	return nil
}

// OptIn labels a pool; its images are built from now on.
func (c *Cluster) OptIn(ctx context.Context, pool string) error {
	return c.patchPool(ctx, pool, `{"metadata":{"labels":{"`+api.LabelLayeringEnabled+`":""}}}`)
}

// OptOut removes the label again.
func (c *Cluster) OptOut(ctx context.Context, pool string) error {
	return c.patchPool(ctx, pool, `{"metadata":{"labels":{"`+api.LabelLayeringEnabled+`":null}}}`)
}

// Target gives a pool another rendered config.
func (c *Cluster) Target(ctx context.Context, pool, config string) error {
	return c.patchPool(ctx, pool, `{"spec":{"configuration":{"name":"`+config+`"}}}`)
}

func (c *Cluster) patchPool(ctx context.Context, pool, patch string) error {
	_, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Patch(ctx, pool, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		return fmt.Errorf("patching pool %q: %w", pool, err)
	}
	return nil
}

// Pool reads a pool.
func (c *Cluster) Pool(ctx context.Context, name string) (*mcfgv1.MachineConfigPool, error) {
	pool, err := c.Clients.MachineConfig.MachineconfigurationV1().MachineConfigPools().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading pool %q: %w", name, err)
	}
	return pool, nil
}

// True is the message of a pool's condition while it is True.
func True(pool *mcfgv1.MachineConfigPool, kind mcfgv1.MachineConfigPoolConditionType) (message string, ok bool) {
	for _, cond := range pool.Status.Conditions {
		if cond.Type == kind && cond.Status == corev1.ConditionTrue {
			return cond.Message, true
		}
	}
	return "", false
}

// ErrBuildFailed is what Built returns for a pool whose build has failed.
var ErrBuildFailed = errors.New("the build failed")

// Built is the image that a pool names for a rendered config. Until there is
// one, the error says what the pool says.
func Built(pool *mcfgv1.MachineConfigPool, config string) (string, error) {
	if message, failed := True(pool, mcfgv1.MachineConfigPoolBuildFailed); failed {
		return "", fmt.Errorf("%w: %s", ErrBuildFailed, message)
	}
	_, ok := True(pool, mcfgv1.MachineConfigPoolBuildSuccess)
	image := pool.Annotations[api.AnnotationNewestImage]
	if !ok || image == "" || pool.Annotations[api.AnnotationImageConfig] != config {
		return "", fmt.Errorf("no image of %s yet: conditions %v", config, pool.Status.Conditions)
	}
	return image, nil
}

// Untouched fails while a pool shows anything that the product wrote.
func Untouched(pool *mcfgv1.MachineConfigPool) error {
	for _, key := range []string{api.AnnotationNewestImage, api.AnnotationImageConfig} {
		if value := pool.Annotations[key]; value != "" {
			return fmt.Errorf("annotation %s is %q", key, value)
		}
	}
	for _, cond := range pool.Status.Conditions {
		if slices.Contains(api.OwnedConditions, cond.Type) {
			return fmt.Errorf("condition %s is %s", cond.Type, cond.Status)
		}
	}
	return nil
}

// Event is one event about a pool, which may have happened several times.
type Event struct {
	Reason, Message string
	Count           int32
}

// Events are the events about a pool, oldest first.
func (c *Cluster) Events(ctx context.Context, pool *mcfgv1.MachineConfigPool) ([]Event, error) {
	events, err := c.events(ctx, metav1.NamespaceDefault, pool.UID)
	if err != nil {
		return nil, fmt.Errorf("listing events of pool %q: %w", pool.Name, err)
	}
	return events, nil
}

func (c *Cluster) events(ctx context.Context, namespace string, of types.UID) ([]Event, error) {
	list, err := c.Clients.Core.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("involvedObject.uid", string(of)).String(),
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list.Items, func(a, b corev1.Event) int { return a.LastTimestamp.Compare(b.LastTimestamp.Time) })
	events := make([]Event, len(list.Items))
	for i, e := range list.Items {
		events[i] = Event{Reason: e.Reason, Message: e.Message, Count: e.Count}
	}
	return events, nil
}
