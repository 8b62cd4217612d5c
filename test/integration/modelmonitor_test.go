package integration

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// What the model writes as somebody else would.
const (
	foreignKey       = "theirs"
	foreignCondition = mcfgv1.MachineConfigPoolNodeDegraded
)

// monitor watches a world through the administrator's eyes, version by version,
// for what may never be. It keeps the story of each pool.
type monitor struct {
	registry *kubelet.Registry
	begin    time.Time

	mu      sync.Mutex
	limit   int
	pods    map[types.UID]*watchedPod
	scripts map[types.UID]kubelet.Script
	foreign map[types.UID]int // the newest that was seen of a pool
	stories map[string][]string
	broken  map[string][]string // violations
	starts  int
	most    int // builds at once
	// faultUntil is when the registry last failed.
	faultUntil time.Time
}

// watchedPod is what was seen of a build pod.
type watchedPod struct {
	pool, config, hash string
	active             bool
	phase              corev1.PodPhase
	// failed: it counts against the user's tries. succeeded: it said so when, and truly.
	failed    bool
	succeeded time.Time
}

func newMonitor(registry *kubelet.Registry, limit int) *monitor {
	return &monitor{
		registry: registry, begin: time.Now(), limit: limit,
		pods: map[types.UID]*watchedPod{}, scripts: map[types.UID]kubelet.Script{}, foreign: map[types.UID]int{},
		stories: map[string][]string{}, broken: map[string][]string{},
	}
}

// watch adds the monitor to informers that do not run yet.
func (m *monitor) watch(in *kube.Informers) error {
	if err := kube.Listen(in.Pools, m.poolSeen); err != nil {
		return err
	}
	_, err := in.Pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { m.podSeen(obj, false) },
		UpdateFunc: func(_, obj any) { m.podSeen(obj, false) },
		DeleteFunc: func(obj any) { m.podSeen(obj, true) },
	})
	return err
}

func (m *monitor) tellLocked(pool, format string, args ...any) {
	m.stories[pool] = append(m.stories[pool], fmt.Sprintf("%6.0fms ", float64(time.Since(m.begin).Microseconds())/1000)+fmt.Sprintf(format, args...))
}

func (m *monitor) tell(pool, format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tellLocked(pool, format, args...)
}

func (m *monitor) violateLocked(pool, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	m.tellLocked(pool, "VIOLATION %s", text)
	m.broken[pool] = append(m.broken[pool], text)
}

func (m *monitor) violate(pool, format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.violateLocked(pool, format, args...)
}

// registryFails tells that the registry fails now.
func (m *monitor) registryFails() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faultUntil = time.Now().Add(time.Hour)
}

func (m *monitor) registryMended() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faultUntil = time.Now()
}

func (m *monitor) poolSeen(before, after *mcfgv1.MachineConfigPool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if after == nil {
		m.tellLocked(before.Name, "pool is gone")
		return
	}
	if before != nil && before.ResourceVersion == after.ResourceVersion {
		return
	}
	m.tellLocked(after.Name, "pool is %s", poolInBrief(after))
	m.checkConditions(after)
	m.checkAnnotations(before, after)
	m.checkForeign(after)
}

func poolInBrief(p *mcfgv1.MachineConfigPool) string {
	_, optedIn := p.Labels[api.LabelLayeringEnabled]
	var conditions []string
	for _, c := range p.Status.Conditions {
		if c.Status == corev1.ConditionTrue && slices.Contains(api.OwnedConditions, c.Type) {
			conditions = append(conditions, string(c.Type)+"/"+c.Reason)
		}
	}
	image := p.Annotations[api.AnnotationNewestImage]
	if _, digest, ok := strings.Cut(image, "@sha256:"); ok {
		image = digest[:8]
	}
	return fmt.Sprintf("in=%t target=%s %s image=%s of %s rv=%s", optedIn, p.Spec.Configuration.Name, strings.Join(conditions, " "),
		image, p.Annotations[api.AnnotationImageConfig], p.ResourceVersion)
}

// checkConditions: exactly one of the four is True once any is there.
func (m *monitor) checkConditions(p *mcfgv1.MachineConfigPool) {
	var have, holding []string
	failed, degraded := false, false
	for _, c := range p.Status.Conditions {
		if !slices.Contains(api.OwnedConditions, c.Type) {
			continue
		}
		have = append(have, string(c.Type))
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case mcfgv1.MachineConfigPoolBuildPending, mcfgv1.MachineConfigPoolBuilding, mcfgv1.MachineConfigPoolBuildSuccess, mcfgv1.MachineConfigPoolBuildFailed:
			holding = append(holding, string(c.Type))
			failed = failed || c.Type == mcfgv1.MachineConfigPoolBuildFailed
		case mcfgv1.MachineConfigPoolImageBuildDegraded:
			degraded = true
		default:
		}
	}
	if len(have) > 0 && len(holding) != 1 {
		m.violateLocked(p.Name, "%d of the four conditions are True: %v", len(holding), holding)
	}
	if failed != degraded {
		m.violateLocked(p.Name, "BuildFailed is %t, ImageBuildDegraded is %t", failed, degraded)
	}
}

// checkAnnotations: the result names an image that is what it is said to be.
func (m *monitor) checkAnnotations(before, after *mcfgv1.MachineConfigPool) {
	image, config := after.Annotations[api.AnnotationNewestImage], after.Annotations[api.AnnotationImageConfig]
	if (image == "") != (config == "") {
		m.violateLocked(after.Name, "image %q of config %q: one without the other", image, config)
	}
	if image == "" || (before != nil && before.UID == after.UID && before.Annotations[api.AnnotationNewestImage] == image && before.Annotations[api.AnnotationImageConfig] == config) {
		return
	}
	labels, err := m.registry.Labels(image)
	if err != nil {
		// The model may have deleted it since the controller asked.
		m.tellLocked(after.Name, "annotated image: %v", err)
		return
	}
	if labels[api.ImageLabelMachineConfig] != config || labels[api.ImageLabelMachineConfigPool] != after.Name || !strings.Contains(labels[kubelet.LabelMachineConfig], marker(config)) {
		m.violateLocked(after.Name, "annotated image of %s is one of %s", config, labels[api.ImageLabelMachineConfig])
	}
}

// checkForeign: what others wrote is there and never older than it was.
func (m *monitor) checkForeign(p *mcfgv1.MachineConfigPool) {
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		if err != nil {
			return -1
		}
		return n
	}
	if p.Labels[foreignKey] != "stays" || len(p.OwnerReferences) != 1 || p.OwnerReferences[0].Name != foreignKey {
		m.violateLocked(p.Name, "labels %v, owners %v: something of others is gone", p.Labels, p.OwnerReferences)
	}
	newest := number(p.Annotations[foreignKey])
	condition := 0
	for _, c := range p.Status.Conditions {
		if c.Type == foreignCondition {
			condition = number(c.Message)
		}
	}
	// The annotation is written first.
	if newest < m.foreign[p.UID] || condition > newest || condition < m.foreign[p.UID]-1 {
		m.violateLocked(p.Name, "others wrote %d, the annotation says %d, the condition %d", m.foreign[p.UID], newest, condition)
	}
	m.foreign[p.UID] = max(m.foreign[p.UID], newest)
}

func (m *monitor) podSeen(obj any, gone bool) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.pods[p.UID]
	if w == nil {
		w = &watchedPod{pool: p.Annotations[api.AnnotationPool], config: p.Annotations[api.AnnotationRenderedConfig], hash: p.Annotations[api.AnnotationInputsHash]}
		m.pods[p.UID] = w
		m.starts++
		m.checkNeeded(w)
	}
	terminal := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	w.active = !gone && !terminal
	state := fmt.Sprintf("%s %s", p.Status.Phase, p.Status.Reason)
	switch {
	case gone:
		state = "gone"
	case p.DeletionTimestamp != nil:
		state += " terminating"
	}
	m.tellLocked(w.pool, "pod of %s try %s %s is %s", w.config, p.Annotations[api.AnnotationAttempt], short(p.UID), state)
	if terminal && w.phase != p.Status.Phase {
		m.podEnded(p, w)
	}
	w.phase = p.Status.Phase
	m.checkLive(w.pool)
}

func short(uid types.UID) string { return string(uid[:8]) }

func (m *monitor) podEnded(p *corev1.Pod, w *watchedPod) {
	outcome := m.scripts[p.UID].Outcome
	lies := outcome == kubelet.Forge || outcome == kubelet.Mute
	switch {
	case p.Status.Phase == corev1.PodSucceeded && !lies:
		w.succeeded = time.Now()
	case p.Status.Phase == corev1.PodSucceeded, p.DeletionTimestamp == nil && p.Status.Reason != "Evicted":
		w.failed = true
	}
}

// checkLive: one build a pool, and no more than the limit.
func (m *monitor) checkLive(pool string) {
	of, all := 0, 0
	for _, w := range m.pods {
		if w.active {
			all++
			if w.pool == pool {
				of++
			}
		}
	}
	m.most = max(m.most, all)
	if of > 1 {
		m.violateLocked(pool, "%d live builds", of)
	}
	if all > m.limit {
		m.violateLocked(pool, "%d builds at once, the limit is %d", all, m.limit)
	}
}

// checkNeeded: nothing is built that the registry has under its tag.
func (m *monitor) checkNeeded(w *watchedPod) {
	target := m.registry.Host + "/" + modelRepository + ":" + w.config
	labels, err := m.registry.Labels(target)
	if err != nil || labels[api.ImageLabelInputsHash] != w.hash {
		return
	}
	maker := m.pods[types.UID(labels[kubelet.LabelRun])]
	if maker == nil || maker == w || maker.succeeded.IsZero() || m.faultUntil.After(maker.succeeded) {
		return
	}
	m.violateLocked(w.pool, "%s is built again, %v after pod %s had built it", w.config, time.Since(maker.succeeded), short(types.UID(labels[kubelet.LabelRun])))
}

// failures counts the runs of some inputs that count as tries.
func (m *monitor) failures(hash string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, w := range m.pods {
		if w.hash == hash && w.failed {
			n++
		}
	}
	return n
}

// scripted notes what becomes of a pod.
func (m *monitor) scripted(uid types.UID, s kubelet.Script) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scripts[uid] = s
}

// podsOf returns the UIDs of a pool's live pods and how they are to end.
func (m *monitor) podsOf(pool string) map[types.UID]kubelet.Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[types.UID]kubelet.Outcome{}
	for uid, w := range m.pods {
		if w.pool == pool && w.active {
			out[uid] = m.scripts[uid].Outcome
		}
	}
	return out
}

// storyteller makes what the controller logs of a pool part of its story.
type storyteller struct {
	*monitor
	key string
}

func (s storyteller) Init(klog.RuntimeInfo)             {}
func (s storyteller) Enabled(level int) bool            { return level <= 4 }
func (s storyteller) WithName(string) klog.LogSink      { return s }
func (s storyteller) Info(_ int, msg string, kv ...any) { s.add(msg, kv) }

func (s storyteller) Error(err error, msg string, kv ...any) {
	s.add(msg, append(kv, "err", err))
}

func (s storyteller) WithValues(kv ...any) klog.LogSink {
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i] == "key" {
			s.key = fmt.Sprint(kv[i+1])
		}
	}
	return s
}

func (s storyteller) add(msg string, kv []any) {
	if s.key != "" {
		s.tell(s.key, "    controller: %s %v", msg, kv)
	}
}

// runs is true when a pod of the pool is seen to run.
func (m *monitor) runs(pool string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.pods {
		if w.pool == pool && w.active && w.phase == corev1.PodRunning {
			return true
		}
	}
	return false
}

// made counts the pods that were made for a pool.
func (m *monitor) made(pool string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, w := range m.pods {
		if w.pool == pool {
			n++
		}
	}
	return n
}

// story is what happened to a pool, a line each.
func (m *monitor) story(pool string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.stories[pool], "\n")
}

// configOf returns the config that a pod builds.
func (m *monitor) configOf(uid types.UID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pods[uid].config
}
