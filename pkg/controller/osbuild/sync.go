package osbuild

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"time"

	mcfgv1 "github.com/openshift/api/machineconfiguration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/kube"
	"github.com/machine-os-builder/machine-os-builder/pkg/osbuild"
)

// How soon to look again at what no watch tells of: a Secret that a user has
// to mend, an object in the way that goes, what only a user can get out of the
// way, and a run that was started and may have gone before a watch could show it.
const (
	accessPoll  = 5 * time.Second
	goingPoll   = 2 * time.Second
	refusedPoll = time.Minute
	unseenPoll  = 30 * time.Second
)

// sync does one round for one pool.
func (c *Controller) sync(ctx context.Context, name string) (time.Duration, error) {
	v, next, err := c.look(ctx, name)
	if v == nil || err != nil {
		c.forget(name, v, err)
		return 0, err
	}
	klog.FromContext(ctx).V(4).Info("Sync", "actions", len(next.Actions), "requeueAfter", next.RequeueAfter)
	after, err := c.carryOut(ctx, v, next)
	if err != nil {
		return 0, err
	}
	return c.lookAgain(v, after), nil
}

// carryOut does what was planned and tells of it. It returns when to look again.
func (c *Controller) carryOut(ctx context.Context, v *view, next osbuild.NextSteps) (time.Duration, error) {
	c.completeRecords(ctx, v, next.Actions)
	done, err := c.apply(ctx, v, next.Actions)
	if err == nil && v.takeRecord(done) {
		c.measure(v)
		// What follows from a record needs no event of it to be seen.
		return c.goOn(ctx, v, done)
	}
	if err != nil {
		var told bool
		if next.RequeueAfter, told, err = c.refused(v, next.Actions[len(done)], err); !told {
			return 0, err
		}
	}
	return next.RequeueAfter, errors.Join(err, c.writeStatus(ctx, v, done))
}

// look observes a pool and plans. A plan that starts a build costs, and one that takes
// a run for gone may be a cache that is behind: they are made again from a live read.
func (c *Controller) look(ctx context.Context, name string) (*view, osbuild.NextSteps, error) {
	v, err := c.observe(ctx, name, false)
	if v == nil || err != nil {
		return v, osbuild.NextSteps{}, err
	}
	next := v.plan()
	if !next.Starts() && !next.TakesAsGone() && !c.queue.holds(name) {
		return v, next, nil
	}
	if v, err = c.observe(ctx, name, true); v == nil || err != nil {
		return v, osbuild.NextSteps{}, err
	}
	return v, c.startable(ctx, v), nil
}

// lookAgain is when to look again, with what no watch tells of in mind.
func (c *Controller) lookAgain(v *view, after time.Duration) time.Duration {
	if v.accessWrong {
		return c.waiting.wrong(v.pool.Name)
	}
	c.waitsNoMore(v.pool.Name)
	switch {
	case c.queue.holds(v.pool.Name) && (after == 0 || after > unseenPoll):
		return unseenPoll
	default:
		return after
	}
}

func (c *Controller) waitsNoMore(pool string) {
	if next := c.waiting.leave(pool); next != "" {
		c.runner.Enqueue(next)
	}
}

// mended wakes the pools that waited for the way to registries to be mended.
func (c *Controller) mended(pool string) {
	for _, other := range c.waiting.right() {
		if other != pool {
			c.runner.Enqueue(other)
		}
	}
}

// goOn does the rest of a round whose first part wrote a record.
func (c *Controller) goOn(ctx context.Context, v *view, done []osbuild.Action) (time.Duration, error) {
	if err := c.askRegistry(ctx, v); err != nil {
		return 0, err
	}
	next := v.plan()
	if next.Starts() {
		// That is for a round of its own, with a live read.
		c.runner.Enqueue(v.pool.Name)
		next.Actions = nil
	}
	c.completeRecords(ctx, v, next.Actions)
	more, err := c.apply(ctx, v, next.Actions)
	if err != nil {
		return 0, err
	}
	return next.RequeueAfter, c.writeStatus(ctx, v, append(done, more...))
}

// takeRecord makes a record that was written part of the view; false when none was.
func (v *view) takeRecord(done []osbuild.Action) bool {
	for _, a := range done {
		w, ok := a.(osbuild.WriteRecord)
		if !ok {
			continue
		}
		v.observed.Records = slices.DeleteFunc(v.observed.Records, func(r osbuild.Record) bool {
			return r.RenderedConfig == w.Record.RenderedConfig
		})
		v.observed.Records = append(v.observed.Records, w.Record)
		return true
	}
	return false
}

// measure lets the metrics count what is new in a pool's world.
func (c *Controller) measure(v *view) {
	if v.desired.OptedOut {
		c.Metrics.Forget(v.pool.Name)
		return
	}
	c.Metrics.Observe(v.pool.Name, v.observed)
}

// forget drops what was remembered of a pool that is gone.
func (c *Controller) forget(name string, v *view, err error) {
	if v == nil && err == nil {
		c.own.forget(name)
		c.untold.forget(name)
		c.waitsNoMore(name)
		c.queue.drop(name)
		c.checker.Forget(name)
		c.Metrics.Forget(name)
	}
}

// apply carries out actions in order and returns those that were done.
func (c *Controller) apply(ctx context.Context, v *view, actions []osbuild.Action) ([]osbuild.Action, error) {
	log := klog.FromContext(ctx)
	for i, action := range actions {
		var err error
		switch a := action.(type) {
		case osbuild.StartBuild:
			log.Info("Starting build", "build", a.Request.Object, "attempt", a.Request.Attempt, "changes", a.Request.Changes)
			err = c.start(ctx, a, v.desired.Fingerprint.MachineConfig)
		case osbuild.DeleteRun:
			log.Info("Deleting run", "build", a.Build.Object)
			err = c.Backend.DeleteRun(ctx, a.Build)
		case osbuild.RemoveBuild:
			log.Info("Removing build", "build", a.Build.Object, "phase", a.Build.Phase)
			err = c.Backend.Remove(ctx, a.Build)
		case osbuild.AbandonRun:
			log.Info("Abandoning run that does not go", "build", a.Build.Object, "goneBy", a.Build.GoneBy)
			err = c.Backend.Abandon(ctx, a.Build)
		case osbuild.WriteRecord:
			log.Info("Recording", "build", a.Record.Object, "outcome", a.Record.Outcome, "reason", a.Record.Reason)
			err = c.writeRecord(ctx, v.pool, a)
		case osbuild.DeleteRecord:
			err = c.deleteRecord(ctx, a.RenderedConfig)
		case osbuild.Annotate:
			log.Info("Annotating pool", "image", a.NewestImage, "config", a.ImageConfig)
			err = c.annotate(ctx, v, a)
		}
		if err != nil {
			return actions[:i], err
		}
	}
	return actions, nil
}

func (c *Controller) start(ctx context.Context, a osbuild.StartBuild, specHash string) error {
	payload, err := c.payload(ctx, a.Request.RenderedConfig, specHash)
	if err != nil {
		return err
	}
	a.Request.MachineConfig = payload
	run, err := c.Backend.Start(ctx, a.Request)
	if err != nil {
		return err
	}
	// What the registry said before this build tells nothing about its result.
	c.checker.Forget(a.Request.Pool.Name)
	c.started(ctx, a.Request.Pool.Name, run)
	return nil
}

func (c *Controller) annotate(ctx context.Context, v *view, a osbuild.Annotate) error {
	return c.write(v, func() (*mcfgv1.MachineConfigPool, error) {
		return kube.AnnotatePool(ctx, c.Clients.MachineConfig, v.pool, map[string]string{
			api.AnnotationNewestImage: a.NewestImage,
			api.AnnotationImageConfig: a.ImageConfig,
		})
	})
}

// refused sorts the errors of an action. Of those that only a user can end, and
// of those of a start, the status will tell; the error that it returns is still
// to be retried.
func (c *Controller) refused(v *view, action osbuild.Action, err error) (after time.Duration, told bool, again error) {
	var foreign *backend.ForeignObjectError
	start, starts := action.(osbuild.StartBuild)
	switch {
	case errors.As(err, &foreign):
		c.giveBack(v.pool.Name)
		v.desired.Waiting = &osbuild.Obstacle{Reason: api.ReasonWaitingForCleanup, Message: err.Error()}
		if foreign.Going {
			return goingPoll, true, nil
		}
		return refusedPoll, true, nil
	case !starts || apierrors.IsConflict(err):
		return 0, false, err
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err):
		c.giveBack(v.pool.Name)
		v.desired.Blocked = &osbuild.Obstacle{Reason: api.ReasonCannotStart, Message: err.Error()}
		return refusedPoll, true, nil
	}
	c.untold.starting(v.pool.Name, start)
	v.desired.Waiting = &osbuild.Obstacle{Reason: api.ReasonBuildPending, Message: "the build could not be started, which is tried again: " + err.Error()}
	return 0, true, err
}

// writeStatus writes the conditions when they differ, then tells of it.
func (c *Controller) writeStatus(ctx context.Context, v *view, done []osbuild.Action) error {
	before, after := v.observed.Conditions, v.status()
	if !reflect.DeepEqual(before, after) {
		err := c.write(v, func() (*mcfgv1.MachineConfigPool, error) {
			return kube.SetPoolConditions(ctx, c.Clients.MachineConfig, v.pool, after)
		})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			// The next sync writes the status; it knows nothing of these actions.
			c.tell(v, before, before, done)
			c.untold.wrote(v.pool.Name, before)
			return err
		}
		klog.FromContext(ctx).Info("Status written", "state", summary(after))
	}
	done = c.untold.started(v.pool.Name, v.observed.Builds, done)
	c.tell(v, c.untold.since(v.pool.Name, before), after, done)
	return nil
}

func (c *Controller) tell(v *view, before, after []mcfgv1.MachineConfigPoolCondition, done []osbuild.Action) {
	for _, e := range osbuild.Events(v.desired, before, after, done) {
		kind := corev1.EventTypeNormal
		if e.Warning {
			kind = corev1.EventTypeWarning
		}
		c.Recorder.Event(v.pool, kind, e.Reason, e.Message)
	}
}

// write takes over the pool as a write of it returns it.
func (c *Controller) write(v *view, do func() (*mcfgv1.MachineConfigPool, error)) error {
	pool, missed, err := c.own.write(v.pool, do)
	if missed {
		c.runner.Enqueue(v.pool.Name)
	}
	if err != nil {
		return err
	}
	v.pool = pool
	return nil
}

// summary names the build conditions that are True.
func summary(conditions []mcfgv1.MachineConfigPoolCondition) []string {
	var out []string
	for _, cond := range conditions {
		for _, kind := range api.OwnedConditions {
			if cond.Type == kind && cond.Status == corev1.ConditionTrue {
				out = append(out, string(cond.Type)+"/"+cond.Reason)
			}
		}
	}
	return out
}
