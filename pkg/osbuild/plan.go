package osbuild

import (
	"cmp"
	"slices"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Action is one thing to do; each can be repeated. The set is sealed.
type Action interface{ action() }

// The actions.
type (
	// StartBuild starts a build. It costs, so it is planned again from a live
	// read before it is carried out.
	StartBuild struct{ Request buildspec.Request }
	// DeleteRun makes room for the next try of the same inputs.
	DeleteRun struct{ Build backend.Observation }
	// RemoveBuild removes all of a build.
	RemoveBuild struct{ Build backend.Observation }
	// AbandonRun lets go of a run that was asked to go and does not, as on a
	// node that is lost.
	AbandonRun struct{ Build backend.Observation }
	// WriteRecord creates or replaces the record of a rendered config. Run is
	// what the record tells of, zero when nothing ran; Log is the end of what it
	// printed, which whoever carries the action out fills in.
	WriteRecord struct {
		Record Record
		Run    backend.Observation
		Log    []string
	}
	// DeleteRecord removes the record of a rendered config.
	DeleteRecord struct{ RenderedConfig string }
	// Annotate writes the result to the pool; empty values remove it.
	Annotate struct{ NewestImage, ImageConfig string }
)

func (StartBuild) action()   {}
func (DeleteRun) action()    {}
func (RemoveBuild) action()  {}
func (AbandonRun) action()   {}
func (WriteRecord) action()  {}
func (DeleteRecord) action() {}
func (Annotate) action()     {}

// NextSteps is what Plan returns.
type NextSteps struct {
	// Actions in the order they must be done; the first failure ends the round.
	Actions []Action
	// RequeueAfter is when to look again although nothing changed; 0 for never.
	RequeueAfter time.Duration
}

// Starts is true when the steps hold a build's start.
func (n NextSteps) Starts() bool {
	return slices.ContainsFunc(n.Actions, func(a Action) bool { _, ok := a.(StartBuild); return ok })
}

// TakesAsGone is true when the steps record that a run is gone which nobody saw go.
func (n NextSteps) TakesAsGone() bool {
	return slices.ContainsFunc(n.Actions, func(a Action) bool { w, ok := a.(WriteRecord); return ok && w.Run.Gone != "" })
}

// abandonAfter is how long a run may be overdue in going before it is abandoned.
// On a node that is lost nothing confirms that it has stopped, and its name is
// needed for the next one.
const abandonAfter = 2 * time.Minute

// registryRetry is how soon a registry that gave no answer is asked again.
const registryRetry = 15 * time.Second

// Plan says what to do next.
func Plan(d Desired, o Observed, now time.Time) NextSteps {
	s := decide(d, o, now)
	var n NextSteps
	for _, b := range s.stale {
		switch {
		case !b.Deleting:
			n.Actions = append(n.Actions, RemoveBuild{b})
		case overdue(b, now) == 0 && s.kind != failing:
			// How a run ended is recorded first.
			n.Actions = append(n.Actions, AbandonRun{b})
		}
	}
	n.Actions = append(n.Actions, s.actions(d, o, now)...)
	switch s.kind {
	case running:
		n.RequeueAfter = untilTimeOut(*s.current, now)
	case unanswered:
		n.RequeueAfter = registryRetry
	case retrying:
		n.RequeueAfter = s.until.Sub(now)
	default:
	}
	n.lookAtGoing(s.stale, now)
	return n
}

// lookAtGoing looks again when a run that goes, or is about to, may hang.
func (n *NextSteps) lookAtGoing(stale []backend.Observation, now time.Time) {
	look := func(after time.Duration) {
		if n.RequeueAfter == 0 || after < n.RequeueAfter {
			n.RequeueAfter = after
		}
	}
	for _, b := range stale {
		if after := overdue(b, now); after > 0 && (b.Phase.Active() || !b.GoneBy.IsZero()) {
			look(after)
		}
	}
	for _, a := range n.Actions {
		if a, ok := a.(DeleteRun); ok && a.Build.Phase.Active() {
			look(abandonAfter)
		}
	}
}

// overdue is how long from now a run that goes is to be abandoned; 0 when it is
// time. One that was not asked to go yet is given all the time.
func overdue(b backend.Observation, now time.Time) time.Duration {
	if b.GoneBy.IsZero() {
		return abandonAfter
	}
	return max(b.GoneBy.Add(abandonAfter).Sub(now), 0)
}

// actions are what a state asks for, the removal of stale builds aside.
func (s state) actions(d Desired, o Observed, now time.Time) []Action {
	switch s.kind {
	case optedOut:
		return optOut(o)
	case clearing:
		return s.deleteRun(func(p backend.Phase) bool { return p != backend.PhaseNone })
	case starting:
		return []Action{StartBuild{nextRequest(d, o, s.record)}}
	case recording:
		return []Action{WriteRecord{Record: supersede(succeededRecord(d, *s.current, s.record), o), Run: *s.current}}
	case reusing:
		return []Action{WriteRecord{Record: supersede(reusedRecord(d, o, now), o)}}
	case failing:
		return []Action{WriteRecord{Record: supersede(failedRecord(d, s, now), o), Run: *s.current}}
	case failed, retrying:
		// One that never started would wait for ever, or start after all.
		return s.stopRun()
	case annotating:
		return append([]Action{Annotate{s.record.Image, d.Request.RenderedConfig}}, tidy(s)...)
	case succeeded:
		return tidy(s)
	default:
		return nil
	}
}

func (s state) deleteRun(when func(backend.Phase) bool) []Action {
	if s.current == nil || !when(s.current.Phase) {
		return nil
	}
	return []Action{DeleteRun{*s.current}}
}

// stopRun ends what still runs of a run that counts as ended. A part that has
// ended stays, for its log.
func (s state) stopRun() []Action {
	if s.current == nil || s.current.Phase.Active() {
		return s.deleteRun(backend.Phase.Active)
	}
	rest := *s.current
	rest.Parts = slices.DeleteFunc(slices.Clone(rest.Parts), func(p backend.Part) bool { return !p.Runs })
	if len(rest.Parts) == 0 {
		return nil
	}
	return []Action{DeleteRun{rest}}
}

func optOut(o Observed) []Action {
	var actions []Action
	for _, r := range o.Records {
		actions = append(actions, DeleteRecord{r.RenderedConfig})
	}
	// The result is ours only where it says which config it was built from.
	if o.ImageConfig != "" {
		actions = append(actions, Annotate{})
	}
	return actions
}

// tidy removes the objects of a build whose success is recorded.
func tidy(s state) []Action {
	if s.current == nil {
		return nil
	}
	return []Action{RemoveBuild{*s.current}}
}

func nextRequest(d Desired, o Observed, r *Record) buildspec.Request {
	request := *d.Request
	request.Attempt = 1
	if r != nil && r.Outcome == Retrying {
		request.Attempt = r.Attempts + 1
	}
	request.Changes = changes(d, o)
	return request
}

func untilTimeOut(run backend.Observation, now time.Time) time.Duration {
	at := endsBy(run)
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(now), time.Second)
}

func newRecord(d Desired, run backend.Observation, before *Record) Record {
	r := Record{
		Pool: d.Request.Pool, RenderedConfig: d.Request.RenderedConfig,
		InputsHash: d.Request.ID, Inputs: d.Fingerprint, Config: d.Config, RebuildToken: d.Request.RebuildToken, RebuildRequest: d.RebuildRequest,
		LastRun: run.UID, Object: run.Object, BaseDigest: run.Result.BaseDigest,
		Started: run.Started, Finished: run.Finished, Changes: run.Changes, Log: run.Log,
		Timings: run.Result.Timings, BytesPulled: run.Result.BytesPulled, BytesPushed: run.Result.BytesPushed,
	}
	if r.Started.IsZero() {
		r.Started = run.Created
	}
	if before != nil && before.Outcome == Retrying {
		r.Attempts, r.Interruptions = before.Attempts, before.Interruptions
		r.Members = before.Members
	}
	return r
}

// addMembers takes up images that a try pushed for single architectures. Those
// of a try that failed are ours to delete too.
func (r *Record) addMembers(d Desired, digests []string) {
	if len(d.Request.Architectures) == 0 {
		return
	}
	r.Members = slices.Clone(r.Members)
	for _, digest := range digests {
		if !slices.Contains(r.Members, digest) {
			r.Members = append(r.Members, digest)
		}
	}
}

func succeededRecord(d Desired, run backend.Observation, before *Record) Record {
	r := newRecord(d, run, before)
	r.Attempts++
	r.Outcome, r.Reason = Succeeded, api.ReasonBuildSucceeded
	r.Image, r.StepsImage = resultImage(d, run), inRepository(d, run.Result.StepsDigest)
	r.addMembers(d, run.Result.Members)
	return r
}

// reusedRecord is that of an image which was there without a build of ours.
func reusedRecord(d Desired, o Observed, now time.Time) Record {
	r := Record{
		Pool: d.Request.Pool, RenderedConfig: d.Request.RenderedConfig,
		InputsHash: d.Request.ID, Inputs: d.Fingerprint, Config: d.Config, RebuildToken: d.Request.RebuildToken, RebuildRequest: d.RebuildRequest,
		Outcome: Succeeded, Reason: api.ReasonImageReused, Started: now, Finished: now,
		Image: inRepository(d, o.Registry.Digest), StepsImage: inRepository(d, o.Registry.StepsDigest), Changes: changes(d, o),
	}
	if before := o.record(d); before != nil && before.Outcome == Retrying {
		r.Members = before.Members
	}
	// buildah names stages, too, where a Build made the image.
	if o.Registry.BaseName == d.Request.BaseImage {
		r.BaseDigest = o.Registry.BaseDigest
	}
	r.addMembers(d, o.Registry.Members)
	return r
}

func failedRecord(d Desired, s state, now time.Time) Record {
	r := newRecord(d, *s.current, s.record)
	r.Reason, r.Message, r.Log = s.failure.reason, s.failure.message, s.failure.log
	r.addMembers(d, s.current.Result.Members)
	if r.Finished.IsZero() {
		r.Finished = now
	}
	if r.Started.IsZero() {
		r.Started = r.Finished
	}
	r.Outcome = Retrying
	switch {
	case s.failure.interrupted:
		r.Interruptions++
		r.RetryAt = r.Finished.Add(Backoff(r.Interruptions))
	default:
		r.Attempts++
		r.RetryAt = r.Finished.Add(Backoff(r.Attempts))
		if r.Attempts > d.MaxRetries || slices.Contains(hopeless, r.Reason) {
			r.Outcome, r.RetryAt = Failed, time.Time{}
		}
	}
	return r
}

// hopeless are the reasons of a failed run that another try cannot change, or that
// nobody wants. Settings are not among them: a Secret may be mended without new inputs.
var hopeless = []string{api.ReasonInvalidDockerfile, api.ReasonInvalidRenderedConfig, api.ReasonExtensionsFailed, api.ReasonBuildCancelled}

// RebuildToken returns the token that a pool's inputs carry: the annotation's
// while it asks for something, else the one that the target config was built
// for. Neither removing the annotation nor returning to a config that was
// built before the annotation was answered elsewhere asks for a build.
func RebuildToken(annotation, target string, o Observed) string {
	answered := annotation == ""
	if newest := o.newest(); newest != nil && cmp.Or(newest.RebuildRequest, newest.RebuildToken) == annotation {
		answered = true
	}
	if !answered {
		return annotation
	}
	for _, b := range o.Builds {
		if b.RenderedConfig == target && !b.Deleting {
			return b.RebuildToken
		}
	}
	for _, r := range o.Records {
		if r.RenderedConfig == target {
			return r.RebuildToken
		}
	}
	return annotation
}
