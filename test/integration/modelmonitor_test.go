package integration

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
	runs    map[types.UID]*watchedRun
	scripts map[types.UID]kubelet.Script // of runs
	podOf   map[types.UID]types.UID      // of runs
	runOf   map[types.UID]types.UID      // of pods
	// cancelled are Builds.
	cancelled map[types.UID]bool
	foreign   map[types.UID]int // the newest that was seen of a pool
	stories   map[string][]string
	broken    map[string][]string // violations
	starts    int
	most      int // builds at once
	// refusedUntil is when the registry last refused to answer.
	refusedUntil time.Time
}

// watchedRun is what was seen of a run: a pod, or a Build.
type watchedRun struct {
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
		runs: map[types.UID]*watchedRun{}, scripts: map[types.UID]kubelet.Script{}, foreign: map[types.UID]int{},
		podOf: map[types.UID]types.UID{}, runOf: map[types.UID]types.UID{}, cancelled: map[types.UID]bool{},
		stories: map[string][]string{}, broken: map[string][]string{},
	}
}

// watch adds the monitor to informers that do not run yet.
func (m *monitor) watch(in *kube.Informers) error {
	return errors.Join(kube.Listen(in.Pools, m.poolSeen), kube.Listen(in.Pods, m.podSeen), kube.Listen(in.Builds.Informer, m.buildSeen))
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

// podSeen looks at a pod that is a run.
func (m *monitor) podSeen(before, after *corev1.Pod) {
	p := cmp.Or(after, before)
	m.seen(p.ObjectMeta, after == nil, p.Status.Phase, p.Status.Reason)
}

// seen looks at a run; with reason it ended.
func (m *monitor) seen(run metav1.ObjectMeta, gone bool, phase corev1.PodPhase, reason string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.runs[run.UID]
	if w == nil {
		w = &watchedRun{pool: run.Annotations[api.AnnotationPool], config: run.Annotations[api.AnnotationRenderedConfig], hash: run.Annotations[api.AnnotationInputsHash]}
		m.runs[run.UID] = w
		m.starts++
		m.checkNeeded(w)
	}
	terminal := phase == corev1.PodSucceeded || phase == corev1.PodFailed
	w.active = !gone && !terminal
	state := fmt.Sprintf("%s %s", phase, reason)
	switch {
	case gone:
		state = "gone"
	case run.DeletionTimestamp != nil:
		state += " terminating"
	}
	m.tellLocked(w.pool, "run of %s try %s %s is %s", w.config, run.Annotations[api.AnnotationAttempt], short(run.UID), state)
	if terminal && w.phase != phase {
		m.ended(run, w, phase, reason)
	}
	w.phase = phase
	m.checkLive(w.pool)
}

func short(uid types.UID) string { return string(uid[:8]) }

func (m *monitor) ended(run metav1.ObjectMeta, w *watchedRun, phase corev1.PodPhase, reason string) {
	outcome := m.scripts[run.UID].Outcome
	lies := outcome == kubelet.Forge || outcome == kubelet.Mute
	switch {
	case phase == corev1.PodSucceeded && !lies:
		w.succeeded = time.Now()
	case phase == corev1.PodSucceeded, run.DeletionTimestamp == nil && !slices.Contains(interruptions, reason):
		w.failed = true
	}
}

// checkLive: one build a pool, and no more than the limit.
func (m *monitor) checkLive(pool string) {
	of, all := 0, 0
	for _, w := range m.runs {
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

// failures counts the runs of some inputs that count as tries.
func (m *monitor) failures(hash string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, w := range m.runs {
		if w.hash == hash && w.failed {
			n++
		}
	}
	return n
}

// scripted notes what becomes of a pod.
func (m *monitor) scripted(pod *corev1.Pod, s kubelet.Script) {
	m.mu.Lock()
	defer m.mu.Unlock()
	run := runOf(pod)
	m.scripts[run], m.podOf[run], m.runOf[pod.UID] = s, pod.UID, run
}

// runsOf returns the UIDs of a pool's live runs, with those of their pods.
func (m *monitor) runsOf(pool string) map[types.UID]types.UID {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[types.UID]types.UID{}
	for uid, w := range m.runs {
		if w.pool == pool && w.active {
			out[uid] = m.podOf[uid]
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

// running is true when a run of the pool is seen to run.
func (m *monitor) running(pool string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.runs {
		if w.pool == pool && w.active && w.phase == corev1.PodRunning {
			return true
		}
	}
	return false
}

// made counts the runs that were made for a pool.
func (m *monitor) made(pool string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, w := range m.runs {
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

// configOf returns the config that a run builds.
func (m *monitor) configOf(uid types.UID) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runs[uid].config
}
