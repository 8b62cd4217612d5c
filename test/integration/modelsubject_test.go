package integration

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// A controller that makes no request about a pool is taken to have no interest
// in it after so many requests about others, or after a silence.
const (
	disinterest = 80
	silence     = 300 * time.Millisecond
)

// longestSettle is how many requests a sequence waits for an end of a build.
const longestSettle = 1500

// subject is one pool with its sequence, and what its users want by now.
type subject struct {
	*batch
	sequence
	name     string
	requests int // of the controller about it; guarded by the batch
	writes   int // among them
	gate     *gate
	met      bool // a fault
	played   bool // its sequence to the end
	frozen   bool // the controller's requests about it fail until it is killed
	pods     int  // that got a script; guarded by the kubelet

	exists, optedIn bool
	target          string // a, b or c
	dockerfile      string
	token           string
	touches         int
	configs         map[string]bool
}

// rendered is the name of one of the pool's configs.
func (p *subject) rendered(letter string) string { return "rendered-" + p.name + "-" + letter }

// marker is what is in a config and in no other.
func marker(config string) string { return "content-of-" + config }

// gate is where a step waits for a request, and a request for a step.
type gate struct {
	left             int
	reached, applied chan struct{}
}

// play takes the pool through its sequence.
func (p *subject) play() {
	for _, s := range p.steps {
		p.until(s.when)
		g := &gate{left: s.request, reached: make(chan struct{}), applied: make(chan struct{})}
		if s.request > 0 {
			p.arm(g)
			p.await(p.ctx.Done(), disinterest, func() bool { return closed(g.reached) })
		}
		if s.loose {
			close(g.applied)
			pause(p.ctx, s.wait)
		}
		p.monitor.tell(p.name, "STEP %v", s)
		if err := p.do(s); err != nil {
			p.monitor.violate(p.name, "step %v: %v", s, err)
		}
		p.arm(nil)
		if !s.loose {
			close(g.applied)
		}
	}
}

// until waits for a moment.
func (p *subject) until(m moment) {
	deadline := time.Now().Add(modelPatience)
	for p.ctx.Err() == nil && !p.has(m) {
		if time.Now().After(deadline) {
			p.monitor.violate(p.name, "%s: not after %v: %v", m, modelPatience, p.verdict())
			return
		}
		pause(p.ctx, 10*time.Millisecond)
	}
}

func (p *subject) has(m moment) bool {
	switch m {
	case whenRunning:
		return p.monitor.running(p.name)
	case whenDone:
		return p.verdict() == nil
	case whenSettled:
		pool, err := p.mirror.PoolLister.Get(p.name)
		return err == nil && (holds(pool, mcfgv1.MachineConfigPoolBuildSuccess) || holds(pool, mcfgv1.MachineConfigPoolBuildFailed))
	default:
		return true
	}
}

func (p *subject) arm(g *gate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = g
}

// passLocked counts a request; it returns what the request has to wait for.
func (p *subject) passLocked() <-chan struct{} {
	g := p.gate
	if g == nil || g.left == 0 {
		return nil
	}
	if g.left--; g.left > 0 {
		return nil
	}
	close(g.reached)
	return g.applied
}

func (p *subject) do(s step) error {
	switch s.op {
	case opCreate:
		return p.create(s.arg == "in")
	case opDelete:
		return p.remove()
	case opLabel, opUnlabel:
		p.optedIn = s.op == opLabel
		return p.patch(map[op]string{opLabel: optIn, opUnlabel: optOut}[s.op])
	case opTarget:
		p.target = s.arg
		if err := p.makeConfig(s.arg); err != nil {
			return err
		}
		return p.patch(retarget(p.rendered(s.arg)))
	case opDockerfile:
		p.dockerfile = s.arg
		return p.writeDockerfile(s.arg)
	case opRebuild:
		if p.exists {
			p.token = s.arg
		}
		return p.patch(mergeAnnotation(api.AnnotationRebuild, s.arg))
	case opTouch:
		return p.touch()
	case opEnd:
		for _, pod := range p.monitor.runsOf(p.name) {
			p.nodes.End(pod, kubelet.Outcome(s.arg))
		}
	case opDeletePod:
		return p.deleteRuns(nil)
	case opForcePod:
		if p.builds {
			return p.cancelBuilds()
		}
		return p.deleteRuns(new(int64))
	case opDeleteMap:
		return ignoreGone(p.admin.Core.CoreV1().ConfigMaps(namespace).Delete(p.ctx, s.arg+"-"+p.rendered(p.target), metav1.DeleteOptions{}))
	case opImageGone:
		_ = p.registry.Delete(p.registry.Host + "/" + modelRepository + ":" + p.rendered(s.arg)) // most often not there
	case opSettle:
		p.await(p.ctx.Done(), longestSettle, func() bool { return p.has(whenSettled) })
	}
	return nil
}

func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func (p *subject) create(in bool) error {
	if p.exists {
		return nil
	}
	if p.target == "" {
		p.target = "a"
	}
	if err := p.makeConfig(p.target); err != nil {
		return err
	}
	labels := map[string]string{foreignKey: "stays"}
	if in {
		labels[api.LabelLayeringEnabled] = ""
	}
	_, err := p.admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Create(p.ctx, &mcfgv1.MachineConfigPool{
		ObjectMeta: metav1.ObjectMeta{Name: p.name, Labels: labels, Annotations: map[string]string{foreignKey: "0"}, OwnerReferences: []metav1.OwnerReference{p.owner}},
		Spec:       mcfgv1.MachineConfigPoolSpec{Configuration: target(p.rendered(p.target))},
	}, metav1.CreateOptions{})
	p.exists, p.optedIn, p.token, p.touches = true, in, "", 0
	return err
}

func (p *subject) remove() error {
	p.exists, p.optedIn = false, false
	return ignoreGone(p.admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Delete(p.ctx, p.name, metav1.DeleteOptions{}))
}

func (p *subject) makeConfig(letter string) error {
	if p.configs[letter] {
		return nil
	}
	p.configs[letter] = true
	config := p.rendered(letter)
	_, err := p.admin.MachineConfig.MachineconfigurationV1().MachineConfigs().Create(p.ctx, &mcfgv1.MachineConfig{
		ObjectMeta: metav1.ObjectMeta{Name: config, Labels: map[string]string{foreignKey: "model"}},
		Spec: mcfgv1.MachineConfigSpec{Config: runtime.RawExtension{Raw: fmt.Appendf(nil,
			`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/x","contents":{"source":"data:,%s"}}]}}`, marker(config))}},
	}, metav1.CreateOptions{})
	return err
}

// patch merges into the pool, if there is one.
func (p *subject) patch(patch string) error {
	if !p.exists {
		p.optedIn = false
		return nil
	}
	_, err := p.admin.MachineConfig.MachineconfigurationV1().MachineConfigPools().Patch(p.ctx, p.name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

func mergeAnnotation(key, value string) string {
	var v any
	if value != "" {
		v = value
	}
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: v}}})
	if err != nil {
		return "{}" // strings can be marshalled
	}
	return string(data)
}

func (p *subject) writeDockerfile(text string) error {
	var value any
	if text != "" {
		value = text
	}
	data, err := json.Marshal(map[string]any{"data": map[string]any{p.name: value}})
	if err != nil {
		return err
	}
	_, err = p.admin.Core.CoreV1().ConfigMaps(namespace).Patch(p.ctx, api.ConfigMapCustomDockerfile, types.MergePatchType, data, metav1.PatchOptions{})
	return err
}

// touch writes the pool as another controller does.
func (p *subject) touch() error {
	if !p.exists {
		return nil
	}
	p.touches++
	if err := p.patch(mergeAnnotation(foreignKey, fmt.Sprint(p.touches))); err != nil {
		return err
	}
	pools := p.admin.MachineConfig.MachineconfigurationV1().MachineConfigPools()
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		pool, err := pools.Get(p.ctx, p.name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		theirs := mcfgv1.MachineConfigPoolCondition{Type: foreignCondition, Status: corev1.ConditionFalse, Reason: "Theirs", Message: fmt.Sprint(p.touches), LastTransitionTime: metav1.Now()}
		found := false
		for i, c := range pool.Status.Conditions {
			if c.Type == foreignCondition {
				pool.Status.Conditions[i], found = theirs, true
			}
		}
		if !found {
			pool.Status.Conditions = append(pool.Status.Conditions, theirs)
		}
		_, err = pools.UpdateStatus(p.ctx, pool, metav1.UpdateOptions{})
		return err
	})
}

func (p *subject) deleteRuns(grace *int64) error {
	for uid := range p.monitor.runsOf(p.name) {
		name := names.Build(p.monitor.configOf(uid))
		options := metav1.DeleteOptions{GracePeriodSeconds: grace, Preconditions: metav1.NewUIDPreconditions(string(uid))}
		err := p.admin.Core.CoreV1().Pods(namespace).Delete(p.ctx, name, options)
		if p.builds {
			err = p.admin.Build.BuildV1().Builds(namespace).Delete(p.ctx, name, options)
		}
		if err := ignoreGone(err); err != nil {
			return err
		}
	}
	return nil
}

// script is what becomes of the pool's next pod.
func (p *subject) script() kubelet.Script {
	p.pods++
	if p.pods > len(p.scripts) {
		return kubelet.Script{Outcome: kubelet.Succeed, Pending: 10 * time.Millisecond}
	}
	s := p.scripts[p.pods-1]
	if s.Digest == digestOfAnother {
		s.Digest = p.another()
	}
	return s
}

// another is the digest of an image that another pool has.
func (p *subject) another() string {
	for _, other := range p.batch.pools {
		pool, err := p.mirror.PoolLister.Get(other.name)
		if err != nil || other == p {
			continue
		}
		if _, digest, ok := strings.Cut(pool.Annotations[api.AnnotationNewestImage], "@"); ok {
			return digest
		}
	}
	return ""
}
