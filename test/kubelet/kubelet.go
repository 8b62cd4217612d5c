package kubelet

import (
	"cmp"
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// node is where every pod runs.
const node = "node-1"

// retryAfter is how soon a write that failed is tried again.
const retryAfter = 100 * time.Millisecond

// Options are what a Kubelet is made of.
type Options struct {
	Client    kubernetes.Interface
	Namespace string
	// Selector is of the pods' labels; empty for those of pools.
	Selector string
	// Registry takes the images; its certificate is trusted whatever the pod says.
	Registry *Registry
	Script   Playwright
	// Clock tells the times that statuses carry; nil for the real one.
	Clock clock.PassiveClock
	// Plain leaves LabelMachineConfig and LabelDockerfile out of the images:
	// labels of that size are nothing that a controller has to hold otherwise.
	Plain bool
}

// Kubelet runs build pods.
type Kubelet struct {
	Options
	mu   sync.Mutex
	pods map[types.UID]*actor
}

// actor plays one pod.
type actor struct {
	*Kubelet
	pod    *corev1.Pod
	script Script
	// started is when it was first seen.
	started metav1.Time
	// mounted are the texts of the pod's ConfigMaps, by key.
	mounted map[string][]string
	// asked is closed when the pod is asked to go, gone ends when it is.
	asked chan struct{}
	gone  context.CancelFunc
	// end overrules the script.
	end chan Outcome
}

// New returns a Kubelet that works once Run is called.
func New(o Options) *Kubelet {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return &Kubelet{Options: o, pods: map[types.UID]*actor{}}
}

func (k *Kubelet) now() metav1.Time { return metav1.NewTime(k.Clock.Now()) }

// Run plays until the context ends.
func (k *Kubelet) Run(ctx context.Context) {
	factory := informers.NewSharedInformerFactoryWithOptions(k.Client, 0, informers.WithNamespace(k.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = cmp.Or(k.Selector, api.LabelBuildPod) }))
	informer := factory.Core().V1().Pods().Informer()
	var actors sync.WaitGroup
	see := func(obj any) {
		if pod, ok := obj.(*corev1.Pod); ok {
			k.see(ctx, &actors, pod)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    see,
		UpdateFunc: func(_, after any) { see(after) },
		DeleteFunc: k.forget,
	})
	if err != nil {
		return // the informer has not run, so it takes handlers
	}
	factory.Start(ctx.Done())
	<-ctx.Done()
	factory.Shutdown()
	actors.Wait()
}

func (k *Kubelet) see(ctx context.Context, actors *sync.WaitGroup, pod *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.pods[pod.UID]
	if a == nil {
		alive, gone := context.WithCancel(ctx)
		a = &actor{Kubelet: k, pod: pod, script: k.Script(pod), started: k.now(), asked: make(chan struct{}), gone: gone, end: make(chan Outcome, 1)}
		k.pods[pod.UID] = a
		actors.Go(func() {
			defer gone()
			a.play(alive)
		})
	}
	if pod.DeletionTimestamp != nil {
		select {
		case <-a.asked:
		default:
			close(a.asked)
		}
	}
}

func (k *Kubelet) forget(obj any) {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if a := k.pods[pod.UID]; a != nil {
		a.gone()
		delete(k.pods, pod.UID)
	}
}

// End makes a pod that has not ended end now, whatever its script says. It
// returns false when there is none of that UID.
func (k *Kubelet) End(pod types.UID, how Outcome) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	a := k.pods[pod]
	if a == nil {
		return false
	}
	select {
	case a.end <- how:
	default: // it was told already
	}
	return true
}

// play takes the pod to its end, then waits until it is asked to go.
func (a *actor) play(ctx context.Context) {
	if !ended(a.pod) {
		a.perform(ctx)
	}
	select {
	case <-ctx.Done():
		return
	case <-a.asked:
	}
	if a.script.Stuck {
		return
	}
	if a.script.Stopping > 0 && !a.wait(ctx, a.script.Stopping) {
		return
	}
	a.insist(ctx, func() error {
		now := int64(0)
		return a.Client.CoreV1().Pods(a.Namespace).Delete(ctx, a.pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(a.pod.UID)),
		})
	})
}

// begin takes the pod to where its containers start. It returns what next does.
func (a *actor) begin(ctx context.Context) (Outcome, bool) {
	outcome, ok := a.next(ctx, a.script.Pending/2)
	if !ok {
		return "", false
	}
	a.bind(ctx)
	if outcome == "" {
		outcome, ok = a.next(ctx, a.script.Pending/2)
	}
	if !ok || outcome != "" && outcome != Succeed {
		return outcome, ok
	}
	// Nothing succeeds without its inputs.
	otherwise, ok := a.mount(ctx)
	return cmp.Or(otherwise, outcome), ok
}

// perform runs the script until the pod has ended or is asked to go.
func (a *actor) perform(ctx context.Context) {
	outcome, ok := a.begin(ctx)
	if !ok {
		return
	}
	if outcome == "" && (a.script.Running > 0 || a.script.Outcome == Hang) {
		a.write(ctx, a.running())
		if a.script.Outcome == Hang {
			outcome, ok = a.next(ctx, -1)
		} else {
			outcome, ok = a.next(ctx, a.script.Running)
		}
		if !ok {
			a.stopped(ctx)
			return
		}
	}
	if outcome == "" {
		outcome = a.script.Outcome
	}
	if outcome == Succeed && a.dockerfileFails() {
		outcome = Fail
	}
	a.write(ctx, a.final(ctx, outcome))
}

// bind gives the pod a node. From then on a deletion waits for its kubelet.
func (a *actor) bind(ctx context.Context) {
	if a.pod.Spec.NodeName != "" {
		return
	}
	a.insist(ctx, func() error {
		return a.Client.CoreV1().Pods(a.Namespace).Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: a.pod.Name, UID: a.pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: node},
		}, metav1.CreateOptions{})
	})
}

// next waits for a part of the script to pass, for ever when it is negative. It
// returns the outcome that overrules the script, if there is one, and false
// when the pod is asked to go or gone.
func (a *actor) next(ctx context.Context, d time.Duration) (Outcome, bool) {
	var passed <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case <-ctx.Done():
		return "", false
	case <-a.asked:
		return "", false
	case how := <-a.end:
		return how, true
	case <-passed:
		return "", true
	}
}

func (a *actor) wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// stopped tells of a running pod whose containers were stopped because it was
// asked to go, as kubelets do before they let it go.
func (a *actor) stopped(ctx context.Context) {
	if ctx.Err() == nil && !a.script.Stuck {
		a.write(ctx, a.terminated())
	}
}

// insist repeats a write until it is done or the pod is gone.
func (a *actor) insist(ctx context.Context, do func() error) {
	for {
		err := do()
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || !a.wait(ctx, retryAfter) {
			return
		}
	}
}

func ended(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}
