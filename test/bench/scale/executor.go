package main

import (
	"context"
	"fmt"
	"time"

	buildv1 "github.com/openshift/api/build/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/test/bench/figure"
	"github.com/machine-os-builder/machine-os-builder/test/kubelet"
)

// team is the namespace of the Builds.
const team = "team"

// executed is a round of the executor: Builds that are created at once, and the rest
// after that.
type executed struct {
	work
	took              time.Duration // from the first request for a Build to the last that is complete
	toPod, toComplete figure.Samples
	idle              idle
}

// execute takes all figures of the executor once.
func (b *bench) execute(ctx context.Context) error {
	w, err := newBuildWorld(ctx, subject{
		name: executorName, path: b.executor, loop: "executor", args: []string{"--git-image", "registry.example.com/os-image-builder-git:1"},
	}, b.run)
	if err != nil {
		return err
	}
	defer w.close()
	r, err := w.startReplica(ctx, "executor")
	if err != nil {
		return err
	}
	if _, err := w.quiet(ctx); err != nil {
		return err
	}
	if err := b.executeAll(ctx, w, r); err != nil {
		return fmt.Errorf("%w\nThe executor said last:\n%s", err, r.said())
	}
	return nil
}

func (b *bench) executeAll(ctx context.Context, w *world, r *replica) error {
	profile := fmt.Sprintf("builds-%d", b.builds)
	if err := r.profile("cpu", b.profiles, profile); err != nil {
		return err
	}
	e := executed{}
	var names []string
	for i := range b.builds {
		names = append(names, fmt.Sprintf("app-%04d", i))
	}
	var err error
	e.work, err = w.watchWork(ctx, r, b.builds, func() error {
		if err := w.makeBuilds(ctx, names); err != nil {
			return err
		}
		return w.built(ctx, names)
	})
	if err != nil {
		return err
	}
	if err := r.profile("heap", b.profiles, profile); err != nil {
		return err
	}
	e.took = w.span(names)
	e.toPod = w.seconds(names, func(b *build) time.Duration { return b.created.Sub(b.labelled) })
	e.toComplete = w.seconds(names, func(b *build) time.Duration { return b.annotated.Sub(b.labelled) })
	if err := w.verifyBuilds(names); err != nil {
		return err
	}
	b.say("  all complete in %.1f s: %.2f s to a pod (p99), %.1f writes, %.1f reads, %.1f ms processor time a Build",
		e.took.Seconds(), quantile(e.toPod, 0.99), e.per(e.requests.count(request.objectWrite)), e.per(e.requests.count(request.read)), e.milliseconds())
	if e.idle, err = w.rest(ctx, r, b.idle); err != nil {
		return err
	}
	b.say("  idle: %.1f MB resident, at most %.1f MB, %.0f requests", mb(e.idle.memory.Resident), mb(e.idle.memory.Peak), e.idle.requests.count(request.work))
	b.executed = append(b.executed, e)
	return nil
}

// newBuildWorld starts everything for Builds but the executor. The pod of a Build takes
// the kubelet as long as run says.
func newBuildWorld(ctx context.Context, s subject, run time.Duration) (_ *world, err error) {
	w, err := newWorld(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	for _, args := range [][]string{
		{"apply", "--server-side", "-k", "manifests/builds"},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/builds." + buildv1.GroupName},
		{"create", "namespace", team},
	} {
		if _, err := w.plane.Kubectl(ctx, "", args...); err != nil {
			return nil, err
		}
	}
	if err := w.login(ctx); err != nil {
		return nil, err
	}
	if err := w.secrets(ctx, team); err != nil {
		return nil, err
	}
	w.builds, err = w.play(ctx, kubelet.Options{Namespace: team, Selector: buildv1.BuildLabel, Script: running(run)}, func(ctx context.Context) (*builds, error) {
		return followBuilds(ctx, w.clients)
	})
	return w, err
}

// followBuilds begins to watch Builds and their pods; there must be none yet.
func followBuilds(ctx context.Context, c kube.Clients) (*builds, error) {
	b := newBuilds(0)
	return b, b.readAll(ctx, []*source{
		{what: "the pods of Builds", selector: buildv1.BuildLabel, open: c.Core.CoreV1().Pods(team).Watch, take: b.podOfBuildEvent},
		{what: "Builds", open: c.Build.BuildV1().Builds(team).Watch, take: b.buildEvent},
	})
}

func (b *builds) podOfBuildEvent(kind watch.EventType, obj runtime.Object, now time.Time) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	name := pod.Annotations[buildv1.BuildAnnotation]
	known := b.of(name)
	switch {
	case kind == watch.Deleted:
		b.fail(fmt.Errorf("the pod of Build %q was deleted", name))
	case len(known.runs) == 0:
		known.runs, known.created = []*corev1.Pod{pod}, now
	case known.runs[0].UID != pod.UID:
		b.fail(fmt.Errorf("running Build %q: it has two pods", name))
	default:
		known.runs[0] = pod
	}
}

func (b *builds) buildEvent(_ watch.EventType, obj runtime.Object, now time.Time) {
	object, ok := obj.(*buildv1.Build)
	if !ok {
		return
	}
	switch s := object.Status; s.Phase {
	case "", buildv1.BuildPhaseNew, buildv1.BuildPhasePending, buildv1.BuildPhaseRunning:
		if s.Reason != "" {
			b.fail(fmt.Errorf("running Build %q: it is %s: %s: %s", object.Name, s.Phase, s.Reason, s.Message))
		}
	case buildv1.BuildPhaseComplete:
		if known := b.of(object.Name); known.image == "" && s.Output.To != nil {
			known.image, known.annotated = s.Output.To.ImageDigest, now
		}
	default:
		b.fail(fmt.Errorf("running Build %q: it is %s: %s: %s", object.Name, s.Phase, s.Reason, s.Message))
	}
}

// makeBuilds creates Builds as users have them: by a Dockerfile, with Secrets to pull and
// to push.
func (w *world) makeBuilds(ctx context.Context, names []string) error {
	return inParallel(names, func(name string) error {
		file := "FROM registry.example.com/base:1\nRUN make && make install\n"
		b := &buildv1.Build{ObjectMeta: metav1.ObjectMeta{Name: name}}
		b.Spec.Source.Dockerfile = &file
		b.Spec.Strategy.DockerStrategy = &buildv1.DockerBuildStrategy{
			PullSecret: &corev1.LocalObjectReference{Name: "pull"}, Env: []corev1.EnvVar{{Name: "LEVEL", Value: "1"}},
		}
		b.Spec.Output.To = &corev1.ObjectReference{Kind: "DockerImage", Name: w.registry.Host + "/scale/" + name + ":1"}
		b.Spec.Output.PushSecret = &corev1.LocalObjectReference{Name: "push"}
		w.label(name)
		if _, err := w.clients.Build.BuildV1().Builds(team).Create(ctx, b, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("making Build %q: %w", name, err)
		}
		return nil
	})
}

// verifyBuilds compares what Builds say that they made to what the registry has and to
// the one pod that each had.
func (w *world) verifyBuilds(names []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.wrong != nil {
		return w.wrong
	}
	return inParallel(names, func(name string) error {
		known := w.pools[name]
		labels, err := w.registry.Labels(w.registry.Host + "/scale/" + name + "@" + known.image)
		if err != nil {
			return fmt.Errorf("the image of Build %q: %w", name, err)
		}
		if labels[kubelet.LabelRun] != string(known.runs[0].UID) {
			return fmt.Errorf("running Build %q: it names %s, which its pod did not make", name, known.image)
		}
		return nil
	})
}

func (b *bench) executorTable() figure.Table {
	of := func(value func(executed) float64) figure.Samples { return of(b.executed, value) }
	var all []work
	for _, e := range b.executed {
		all = append(all, e.work)
	}
	costs := cost(all)
	costs[0].Limit = mostBuildWrites
	queued := func(q float64) figure.Samples {
		return of(func(e executed) float64 {
			return 1000 * e.ended.queueQuantile(e.began, "workqueue_queue_duration_seconds", q)
		})
	}
	return figure.Table{
		Title: fmt.Sprintf("%d Builds created at once, run by build-executor", b.builds),
		Rows: append([]figure.Row{
			{What: "first creation to the last that is complete", Unit: "s", Samples: of(func(e executed) float64 { return e.took.Seconds() })},
			{What: "creation to pod, p50", Unit: "s", Samples: of(func(e executed) float64 { return quantile(e.toPod, 0.5) })},
			{What: "creation to pod, p99", Unit: "s", Samples: of(func(e executed) float64 { return quantile(e.toPod, 0.99) })},
			{What: "creation to complete, p99", Unit: "s", Samples: of(func(e executed) float64 { return quantile(e.toComplete, 0.99) })},
			{What: "a key's time in the work queue, p50", Unit: "ms", Samples: queued(0.5)},
			{What: "a key's time in the work queue, p99", Unit: "ms", Samples: queued(0.99)},
			{What: "resident memory, idle beside them", Unit: "MB", Samples: of(func(e executed) float64 { return mb(e.idle.memory.Resident) })},
			{What: "most resident memory since its start", Unit: "MB", Samples: of(func(e executed) float64 { return mb(e.idle.memory.Peak) })},
			{What: "reads and writes while idle", Samples: of(func(e executed) float64 { return e.idle.requests.count(request.work) }), None: true},
		}, costs...),
		Notes: []string{"Requests of the last round, for each Build: " + b.executed[len(b.executed)-1].listing() + "."},
	}
}
