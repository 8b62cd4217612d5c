package osbuild

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/pkg/redact"
)

var (
	errConfigChanged = errors.New("its spec is not the one that was looked at")
	errNotCached     = errors.New("it exists and is not seen yet")
)

// logPatience is how long the log of a run may take to be read.
const logPatience = 5 * time.Second

// linesInRecord is how much of a log the record itself keeps, for messages,
// when the run did not report the end of its output.
const linesInRecord = 10

// completeRecords fills in what the runs that ended printed, and takes secrets
// out of what is about to be recorded.
func (c *Controller) completeRecords(ctx context.Context, v *view, actions []osbuild.Action) {
	for i, action := range actions {
		a, ok := action.(osbuild.WriteRecord)
		if !ok || a.Run.UID == "" {
			continue
		}
		hide := c.redactor(ctx, v)
		a.Log = hide.Lines(c.readLog(ctx, a.Run))
		if len(a.Record.Log) == 0 && a.Record.Outcome != osbuild.Succeeded {
			a.Record.Log = a.Log[max(0, len(a.Log)-linesInRecord):]
		}
		a.Record.Log, a.Record.Message = hide.Lines(a.Record.Log), hide.Text(a.Record.Message)
		actions[i] = a
	}
}

// readLog returns what can be had of a run's output: a log that cannot be read
// holds up no result.
func (c *Controller) readLog(ctx context.Context, run backend.Observation) []string {
	ctx, cancel := context.WithTimeout(ctx, logPatience)
	defer cancel()
	lines, err := c.Backend.Log(ctx, run)
	if err != nil {
		klog.FromContext(ctx).Info("Log is not complete", "build", run.Object, "cause", err.Error())
		lines = append(lines, "(the rest of the log could not be read: "+err.Error()+")")
	}
	return lines
}

// redactor knows the credentials of the build, as far as they can be read.
func (c *Controller) redactor(ctx context.Context, v *view) *redact.Redactor {
	if v.secrets == nil {
		a, _, err := c.access(ctx, v.settings)
		if err != nil {
			klog.FromContext(ctx).Info("Credentials could not be read; what looks like one is hidden", "cause", err.Error())
		}
		v.secrets = a.Secrets()
	}
	return redact.New(v.secrets...)
}

// writeRecord creates a record or replaces the one that is cached; a cache
// that is behind makes it fail with a conflict.
func (c *Controller) writeRecord(ctx context.Context, pool *mcfgv1.MachineConfigPool, a osbuild.WriteRecord) error {
	r := a.Record
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
	if len(a.Log) > 0 {
		want.Data[api.KeyLog] = strings.Join(a.Log, "\n") + "\n"
	}
	c.recorded.Store(want.Name, names.Content(data))
	have, err := c.Informers.BuildMapLister.ConfigMaps(c.Namespace).Get(want.Name)
	if err == nil {
		err = c.replaceRecord(ctx, have, want, a)
	} else {
		err = c.createRecord(ctx, want, a)
	}
	if err != nil {
		c.recorded.Delete(want.Name)
		return fmt.Errorf("writing build record %q: %w", want.Name, err)
	}
	return nil
}

// createRecord creates a record. One that is there and not cached is one that
// the cache is behind with, or lost its labels, or is none of ours.
func (c *Controller) createRecord(ctx context.Context, want *corev1.ConfigMap, a osbuild.WriteRecord) error {
	client := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace)
	_, err := client.Create(ctx, want, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	have, err := client.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if _, watched := have.Labels[api.LabelBuildPod]; watched {
		return apierrors.NewConflict(corev1.Resource("configmaps"), want.Name, errNotCached)
	}
	return c.replaceRecord(ctx, have, want, a)
}

// replaceRecord puts a record in the place of the pool's one.
func (c *Controller) replaceRecord(ctx context.Context, have, want *corev1.ConfigMap, a osbuild.WriteRecord) error {
	pool := want.Annotations[api.AnnotationPool]
	if have.Annotations[api.AnnotationPool] != pool || have.Annotations[api.AnnotationRenderedConfig] != a.Record.RenderedConfig {
		return &backend.ForeignObjectError{Object: "configmap/" + want.Name, Why: fmt.Sprintf("it is no build record of pool %q", pool)}
	}
	want.ResourceVersion = have.ResourceVersion
	if err := c.keepLog(ctx, a, want); err != nil {
		return err
	}
	_, err := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace).Update(ctx, want, metav1.UpdateOptions{})
	return err
}

// keepLog keeps the log of a record that is rewritten without a run. The cache
// does not hold it.
func (c *Controller) keepLog(ctx context.Context, a osbuild.WriteRecord, want *corev1.ConfigMap) error {
	if a.Run.UID != "" {
		return nil
	}
	have, err := c.Clients.Core.CoreV1().ConfigMaps(c.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if log, ok := have.Data[api.KeyLog]; ok {
		want.Data[api.KeyLog] = log
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
	hash, err := osbuild.SpecHash(mc)
	if err != nil {
		return buildspec.Payload{}, err
	}
	if hash != specHash {
		// What a record tells of it is not believed again.
		if _, err := c.configs.learn(mc); err != nil {
			return buildspec.Payload{}, err
		}
		return buildspec.Payload{}, apierrors.NewConflict(mcfgv1.Resource("machineconfigs"), rendered, errConfigChanged)
	}
	data, err := document(mc)
	if err != nil {
		return buildspec.Payload{}, err
	}
	return buildspec.EncodePayload(data)
}
