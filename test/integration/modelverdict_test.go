package integration

import (
	"fmt"
	"slices"
	"strings"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// verdict says what is not yet as it should be for what the users want.
func (p *subject) verdict() error {
	pool, err := p.mirror.PoolLister.Get(p.name)
	if !p.exists {
		if !apierrors.IsNotFound(err) {
			return fmt.Errorf("the pool is still there")
		}
		return p.nothingLeft()
	}
	switch {
	case err != nil:
		return err
	case !p.optedIn:
		return p.notOurs(pool)
	case strings.Contains(p.dockerfile, "RUNN"):
		return verdictIs(pool, mcfgv1.MachineConfigPoolBuildFailed, api.ReasonInvalidDockerfile)
	case holds(pool, mcfgv1.MachineConfigPoolBuildFailed):
		return p.failed(pool)
	case !holds(pool, mcfgv1.MachineConfigPoolBuildSuccess):
		return fmt.Errorf("neither success nor failure: %s", poolInBrief(pool))
	case strings.Contains(p.dockerfile, "RUN false"):
		return fmt.Errorf("success of a Dockerfile that fails: %s", poolInBrief(pool))
	}
	return p.succeeded(pool)
}

func find(pool *mcfgv1.MachineConfigPool, kind mcfgv1.MachineConfigPoolConditionType) *mcfgv1.MachineConfigPoolCondition {
	for i, c := range pool.Status.Conditions {
		if c.Type == kind {
			return &pool.Status.Conditions[i]
		}
	}
	return nil
}

func holds(pool *mcfgv1.MachineConfigPool, kind mcfgv1.MachineConfigPoolConditionType) bool {
	c := find(pool, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

func verdictIs(pool *mcfgv1.MachineConfigPool, kind mcfgv1.MachineConfigPoolConditionType, reason string) error {
	if c := find(pool, kind); c == nil || c.Status != corev1.ConditionTrue || c.Reason != reason {
		return fmt.Errorf("not %s/%s: %s", kind, reason, poolInBrief(pool))
	}
	return nil
}

// nothingLeft: no build object of the pool is there.
func (p *subject) nothingLeft() error {
	left := p.runs()
	for _, cm := range p.mirror.BuildMapsOf(p.name) {
		left = append(left, "configmap/"+cm.Name)
	}
	if len(left) > 0 {
		return fmt.Errorf("still there: %v", left)
	}
	return nil
}

// runs are the pods and Builds of the pool that are there.
func (p *subject) runs() []string {
	var all []string
	for _, pod := range p.mirror.PodsOf(p.name) {
		all = append(all, "pod/"+pod.Name)
	}
	for _, build := range p.mirror.Builds.Of(p.name) {
		all = append(all, "build/"+build.Name)
	}
	return all
}

func (p *subject) notOurs(pool *mcfgv1.MachineConfigPool) error {
	for _, c := range pool.Status.Conditions {
		if slices.Contains(api.OwnedConditions, c.Type) {
			return fmt.Errorf("opted out, but condition %s is there", c.Type)
		}
	}
	if pool.Annotations[api.AnnotationNewestImage] != "" || pool.Annotations[api.AnnotationImageConfig] != "" {
		return fmt.Errorf("opted out, but there is a result: %v", pool.Annotations)
	}
	return p.nothingLeft()
}

// record is that of the target; nil without one.
func (p *subject) record() (record *osbuild.Record, all []osbuild.Record) {
	for _, cm := range p.mirror.BuildMapsOf(p.name) {
		if cm.Labels[api.LabelRole] != api.RoleRecord {
			continue
		}
		r, err := osbuild.ParseRecord([]byte(cm.Data[api.KeyRecord]))
		if err != nil {
			continue
		}
		all = append(all, r)
		if r.RenderedConfig == p.rendered(p.target) {
			record = &all[len(all)-1]
		}
	}
	return record, all
}

// failed: rightly so, after as many tries as are allowed.
func (p *subject) failed(pool *mcfgv1.MachineConfigPool) error {
	r, _ := p.record()
	c := find(pool, mcfgv1.MachineConfigPoolBuildFailed)
	switch {
	case r == nil || r.Outcome != osbuild.Failed:
		return fmt.Errorf("failed without a record of it: %s: %s", c.Reason, c.Message)
	case r.Reason == api.ReasonBuildCancelled && p.monitor.wasCancelled(r.LastRun):
		// Whoever cancels wants no further try.
	case r.Attempts != modelRetries+1 || p.monitor.failures(r.InputsHash) < r.Attempts:
		return fmt.Errorf("failed after %d tries, of which %d were seen to fail: %s: %s", r.Attempts, p.monitor.failures(r.InputsHash), c.Reason, c.Message)
	case c.Reason != r.Reason:
		return fmt.Errorf("failed as %s, the record says %s", c.Reason, r.Reason)
	}
	return nil
}

// succeeded: with the image of what the users want, and nothing else left.
func (p *subject) succeeded(pool *mcfgv1.MachineConfigPool) error {
	config := p.rendered(p.target)
	image := pool.Annotations[api.AnnotationNewestImage]
	if got := pool.Annotations[api.AnnotationImageConfig]; got != config {
		return fmt.Errorf("success, but the image is of %q", got)
	}
	if err := p.image(image, config); err != nil {
		return err
	}
	r, all := p.record()
	if r == nil || r.Outcome != osbuild.Succeeded || r.Image != image {
		return fmt.Errorf("success with %s, but the record is %+v", image, r)
	}
	if p.token != "" && !slices.ContainsFunc(all, func(r osbuild.Record) bool { return r.RebuildToken == p.token }) {
		return fmt.Errorf("success, but rebuild %q is not answered", p.token)
	}
	if runs := p.runs(); len(runs) > 0 {
		return fmt.Errorf("success, but there are %v", runs)
	}
	for _, cm := range p.mirror.BuildMapsOf(p.name) {
		if cm.Labels[api.LabelRole] != api.RoleRecord {
			return fmt.Errorf("success, but configmap/%s is there", cm.Name)
		}
	}
	return nil
}

// image: the registry has it, and it was made of what is wanted.
func (p *subject) image(image, config string) error {
	labels, err := p.registry.Labels(image)
	if err != nil {
		if p.registry.Removed(image) {
			return nil
		}
		return fmt.Errorf("the registry does not have %s: %w", image, err)
	}
	switch {
	case labels[api.ImageLabelMachineConfig] != config || !strings.Contains(labels[kubelet.LabelMachineConfig], marker(config)):
		return fmt.Errorf("%s is the image of %s", image, labels[api.ImageLabelMachineConfig])
	case labels[api.ImageLabelBaseImage] != p.baseImage():
		return fmt.Errorf("%s is made from %s, not %s", image, labels[api.ImageLabelBaseImage], p.baseImage())
	case p.dockerfile == "" && labels[kubelet.LabelDockerfile] != "":
		return fmt.Errorf("%s is made by a Dockerfile: %s", image, labels[kubelet.LabelDockerfile])
	case p.dockerfile != "" && !strings.Contains(labels[kubelet.LabelDockerfile], strings.TrimPrefix(p.dockerfile, "FROM configs AS final\n")):
		return fmt.Errorf("%s is made by another Dockerfile: %s", image, labels[kubelet.LabelDockerfile])
	}
	return nil
}
