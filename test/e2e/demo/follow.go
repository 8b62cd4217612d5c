package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/test/e2e/live"
)

// follower shows a build while it happens: the pool's conditions and events,
// and what the build pod prints.
type follower struct {
	*demo
	begin  time.Time
	took   time.Duration // until done
	ended  bool          // an event has told of the end
	builds *live.History
	told   map[string]bool
	logs   map[types.UID]bool
	wait   sync.WaitGroup
}

// outcome is how long a build took and the pod that it ran in.
type outcome struct {
	took time.Duration
	pod  *corev1.Pod
}

// follow carries out a change and shows what comes of it, until done says so.
func (d *demo) follow(ctx context.Context, change func(context.Context) error, done func(*mcfgv1.MachineConfigPool) bool) (outcome, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	builds, err := d.WatchPods(ctx, d.pods())
	if err != nil {
		return outcome{}, err
	}
	f := &follower{demo: d, builds: builds, told: map[string]bool{}, logs: map[types.UID]bool{}}
	p, err := d.Pool(ctx, pool)
	if err != nil {
		return outcome{}, err
	}
	// What is known from before is no news.
	if err := f.news(ctx, p, func(string) {}); err != nil {
		return outcome{}, err
	}
	f.begin, f.ended = time.Now(), false
	if err := change(ctx); err != nil {
		return outcome{}, err
	}
	err = live.Eventually(ctx, "the build has ended", func(ctx context.Context) error { return f.look(ctx, done) })
	f.wait.Wait()
	pod, _ := builds.Last()
	return outcome{took: f.took, pod: pod}, err
}

// news tells the conditions and events of a pool that were not told before.
func (f *follower) news(ctx context.Context, p *mcfgv1.MachineConfigPool, tell func(string)) error {
	events, err := f.Events(ctx, p)
	if err != nil {
		return err
	}
	once := func(key, text string) {
		if !f.told[key] {
			f.told[key] = true
			tell(text)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			once(string(c.Type)+c.Message, "condition "+string(c.Type)+" ("+c.Reason+")")
		}
	}
	for _, e := range events {
		key := fmt.Sprint(e)
		f.ended = f.ended || !f.told[key] && (e.Reason == api.EventBuildCompleted || e.Reason == api.EventBuildFailed)
		once(key, "event "+e.Reason+": "+firstLine(e.Message))
	}
	return nil
}

var errGoesOn = errors.New("the build goes on")

// look shows what is new; it returns nil once done says so and the event that
// tells of it has come.
func (f *follower) look(ctx context.Context, done func(*mcfgv1.MachineConfigPool) bool) error {
	p, err := f.Pool(ctx, pool)
	if err != nil {
		return err
	}
	if f.took == 0 && done(p) {
		f.took = time.Since(f.begin)
	}
	if err := f.news(ctx, p, func(text string) { f.out.at(time.Since(f.begin), text) }); err != nil {
		return err
	}
	if build, _ := f.builds.Last(); build != nil && !f.logs[build.UID] {
		f.logs[build.UID] = true
		f.wait.Go(func() { f.showLogs(ctx, build) })
	}
	if f.took == 0 || !f.ended {
		return errGoesOn
	}
	return nil
}

// showLogs follows the containers of a build pod, one after the other.
func (f *follower) showLogs(ctx context.Context, pod *corev1.Pod) {
	for _, c := range append(append([]corev1.Container{}, pod.Spec.InitContainers...), pod.Spec.Containers...) {
		if !f.started(ctx, pod.UID, c.Name) {
			return
		}
		cmd := f.KubectlCommand(ctx, "logs", "--follow", "pod/"+pod.Name, "--container", c.Name)
		output, err := cmd.StdoutPipe()
		if err != nil || cmd.Start() != nil {
			return
		}
		for lines := bufio.NewScanner(output); lines.Scan(); {
			f.out.output(c.Name, lines.Text())
		}
		_ = cmd.Wait() // a pod that is gone has no more to say
	}
}

// started waits until a container runs or ran; false when it never will.
func (f *follower) started(ctx context.Context, pod types.UID, container string) bool {
	err := live.Eventually(ctx, container+" starts", func(context.Context) error {
		p, _ := f.builds.Last()
		switch {
		case p.UID != pod || p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodFailed:
			return live.ErrBuildFailed
		case !live.Started(p, container):
			return errGoesOn
		}
		return nil
	})
	return err == nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// named says whether a pool names an image other than the one before.
func named(before string) func(*mcfgv1.MachineConfigPool) bool {
	return func(p *mcfgv1.MachineConfigPool) bool {
		image := p.Annotations[api.AnnotationNewestImage]
		_, failed := live.True(p, mcfgv1.MachineConfigPoolBuildFailed)
		return failed || image != "" && image != before
	}
}

func failed(p *mcfgv1.MachineConfigPool) bool {
	_, ok := live.True(p, mcfgv1.MachineConfigPoolBuildFailed)
	return ok
}
