package osbuild

import (
	"fmt"
	"time"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/backend"
)

// kind is one of the states drawn in doc.go.
type kind int

const (
	optedOut kind = iota
	blocked
	waiting
	clearing
	asking // the registry may have the image already
	reusing
	queued
	starting
	running
	confirming
	reclaiming // the image is marked for deletion; the mark goes first
	unanswered // the registry does not answer
	recording
	failing
	retrying
	failed
	annotating
	succeeded
)

// state is where a pool's image stands, with what led to that.
type state struct {
	kind kind
	// current is the build of the desired inputs, stale is every other.
	current *backend.Observation
	stale   []backend.Observation
	record  *Record
	failure *failure
	// until is when a retrying pool may start again.
	until time.Time
}

// failure is how a run ended when it made no image.
type failure struct {
	reason, message string
	log             []string
	interrupted     bool
}

// decide finds the state. It reads like the drawing in doc.go, top to bottom.
func decide(d Desired, o Observed, now time.Time) state {
	s := state{}
	s.current, s.stale = o.current(d)
	switch {
	case d.OptedOut:
		s.kind = optedOut
		return s
	case d.Blocked != nil:
		s.kind = blocked
		return s
	case d.Waiting != nil:
		s.kind = waiting
		return s
	}
	s.record = o.record(d)
	switch {
	case s.runLost(d):
	case s.reusable() && s.fromRecord(d, o):
	case s.current != nil && s.current.Phase != backend.PhaseNone:
		s.fromRun(d, o, now)
	default:
		s.fromNothing(d, o, now)
	}
	return s
}

// runLost is true for a run of the desired inputs that somebody else deletes,
// until that is recorded. A result that it reached is found in the registry.
func (s *state) runLost(d Desired) bool {
	for i := range s.stale {
		b := &s.stale[i]
		recorded := s.record != nil && s.record.LastRun == b.UID
		if !b.RunDeleting || !d.wants(*b) || recorded || b.Phase == backend.PhaseSucceeded {
			continue
		}
		message := b.Object + " was deleted"
		if b.Phase == backend.PhaseInterrupted {
			message += ": " + b.Message
		}
		s.current = b
		s.fail(api.ReasonBuildInterrupted, message)
		s.failure.interrupted = true
		return true
	}
	return false
}

// runGone is true for a run of the desired inputs that somebody deleted and that went
// before anybody saw it go, until that is recorded.
func (s *state) runGone() bool {
	if s.current == nil || s.current.Gone == "" || s.record != nil && s.record.LastRun == s.current.Gone {
		return false
	}
	run := *s.current
	run.UID = run.Gone
	s.current = &run
	s.fail(api.ReasonBuildInterrupted, run.Object+" was deleted")
	s.failure.interrupted = true
	return true
}

// reusable is true when the inputs were built before and no newer run of them exists.
func (s *state) reusable() bool {
	return s.record != nil && s.record.Outcome == Succeeded &&
		(s.current == nil || s.current.Phase == backend.PhaseNone || s.current.UID == s.record.LastRun)
}

// fromRecord handles inputs that were built before. It returns false when the
// registry says that the image is gone.
func (s *state) fromRecord(d Desired, o Observed) bool {
	switch {
	case o.NewestImage == s.record.Image && o.ImageConfig == d.Request.RenderedConfig:
		s.kind = succeeded
	case !s.record.UnneededSince.IsZero():
		s.kind = reclaiming
	case o.Registry == nil || o.Registry.Image != s.record.Image:
		s.kind = confirming
	case o.Registry.Err != nil:
		s.kind = unanswered
	case o.Registry.holds(d):
		s.kind = annotating
	default:
		return false
	}
	return true
}

// fromRun handles a run of the desired inputs that exists.
func (s *state) fromRun(d Desired, o Observed, now time.Time) {
	run := s.current
	if s.record != nil && s.record.LastRun == run.UID {
		if !s.stillFailed(now) {
			// The next try is due; it waits for the old run to go.
			s.kind = clearing
		}
		return
	}
	if run.Incomplete {
		// It has its slot; to start it again makes what is missing.
		s.kind = starting
		return
	}
	switch run.Phase {
	case backend.PhaseSucceeded:
		s.confirm(d, o)
	case backend.PhaseFailed, backend.PhaseInterrupted:
		s.fail(run.Reason, run.Message)
	default:
		s.kind = running
		s.timeOut(now)
	}
}

// overrun is how long after its time a run that started is taken to be lost: its
// kubelet ends it at that time, unless the node is gone.
const overrun = 5 * time.Minute

// endsBy is when an active run is ended by us; zero for never. The time is that which
// it was given: another setting is for the next build.
func endsBy(run backend.Observation) time.Time {
	switch {
	case run.Timeout <= 0:
		return time.Time{}
	case run.Phase == backend.PhasePending:
		return run.Created.Add(run.Timeout)
	case run.Started.IsZero():
		return run.Created.Add(run.Timeout + overrun)
	default:
		return run.Started.Add(run.Timeout + overrun)
	}
}

// timeOut ends an active run that is past its deadline.
func (s *state) timeOut(now time.Time) {
	run, limit := s.current, s.current.Timeout
	switch at := endsBy(*run); {
	case at.IsZero() || now.Before(at):
	case run.Phase == backend.PhasePending:
		s.fail(api.ReasonBuildTimedOut, fmt.Sprintf("%s had not started after %s=%s: %s", run.Object, api.KeyBuildTimeout, limit, run.Message))
	default:
		s.fail(api.ReasonBuildInterrupted, fmt.Sprintf("%s still runs %s after %s=%s; its node is lost", run.Object, overrun, api.KeyBuildTimeout, limit))
		s.failure.interrupted = true
	}
}

// confirm believes a run's digest only when the registry knows it.
func (s *state) confirm(d Desired, o Observed) {
	image := resultImage(d, *s.current)
	switch {
	case image == "":
		s.fail(api.ReasonUnconfirmedDigest, s.current.Object+" ended well but reported no digest of a pushed image")
	case o.Registry == nil || o.Registry.Image != image:
		s.kind = confirming
	case o.Registry.Err != nil:
		s.kind = unanswered
	case o.Registry.holds(d):
		s.kind = recording
	case o.Registry.Found:
		s.fail(api.ReasonUnconfirmedDigest, fmt.Sprintf("%s reported %s, which the registry has, but as an image of other inputs", s.current.Object, image))
	default:
		s.fail(api.ReasonUnconfirmedDigest, fmt.Sprintf("%s reported %s, which the registry does not know", s.current.Object, image))
	}
}

func (s *state) fail(reason, message string) {
	s.kind = failing
	s.failure = &failure{
		reason: reason, message: message, log: s.current.Log,
		interrupted: s.current.Phase == backend.PhaseInterrupted,
	}
}

// fromNothing handles desired inputs without a run.
func (s *state) fromNothing(d Desired, o Observed, now time.Time) {
	switch {
	case len(s.stale) > 0:
		s.kind = clearing
	case s.record != nil && s.stillFailed(now):
	case o.reclaims(d):
		s.kind = reclaiming
	case (s.record == nil || s.record.Outcome == Retrying) && s.fromRegistry(d, o):
	case s.runGone():
	case !o.Slots.Free():
		s.kind = queued
	default:
		s.kind = starting
	}
}

// fromRegistry looks for an image of these inputs that no record tells of, or
// one that a run made which went before it was recorded. One that may be older
// than the rebuild that was asked for does not count. A registry that refuses to
// say is no reason not to build: some do so for a repository that the first push
// makes.
func (s *state) fromRegistry(d Desired, o Observed) bool {
	switch a := o.Registry; {
	case a == nil || a.Image != d.Request.FinalImage:
		s.kind = asking
	case a.Err != nil && a.Temporary:
		s.kind = unanswered
	case a.answers(d):
		s.kind = reusing
	default:
		return false
	}
	return true
}

// stillFailed is false when another try may start now.
func (s *state) stillFailed(now time.Time) bool {
	if s.record.Outcome == Failed {
		s.kind = failed
		return true
	}
	if now.Before(s.record.RetryAt) {
		s.kind, s.until = retrying, s.record.RetryAt
		return true
	}
	return false
}

// resultImage is the image that a succeeded run says it pushed.
func resultImage(d Desired, run backend.Observation) string {
	return inRepository(d, run.Result.Digest)
}

// inRepository is a digest in the repository of the desired image; empty for none.
func inRepository(d Desired, digest string) string {
	if digest == "" {
		return ""
	}
	return d.Fingerprint.Repository + "@" + digest
}

// Question names the image that the registry has to be asked about before Plan
// can go on; empty when there is none. It is asked of an Observed without an
// answer.
func Question(d Desired, o Observed, now time.Time) string {
	o.Registry = nil
	s := decide(d, o, now)
	switch {
	case s.kind == asking:
		return d.Request.FinalImage
	case s.kind != confirming:
		return ""
	case s.reusable():
		return s.record.Image
	default:
		return resultImage(d, *s.current)
	}
}
