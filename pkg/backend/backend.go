package backend

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
)

// Backend runs image builds. All methods can be repeated: starting what is
// started and removing what is gone are successes.
type Backend interface {
	// Watch calls notify when a build comes to stand differently; before or
	// after is nil when it did not or does not exist. That a build is asked to
	// go is news only while its run is active; that it is gone is. Called once,
	// before the informers run.
	Watch(notify func(before, after *Observation)) error
	// Start makes the objects of a build and its run, and returns the run's UID.
	// An object of the same name that was made for the same Request.ID is taken
	// as it is; one made for another is an error for which errors.As finds a
	// *ForeignObjectError.
	Start(ctx context.Context, r buildspec.Request) (types.UID, error)
	// List returns every build of a pool that exists in any part; live asks the
	// API server about runs instead of the cache.
	List(ctx context.Context, pool string, live bool) ([]Observation, error)
	// Active returns the pools with an active run, once for each, as the cache
	// shows them.
	Active() []string
	// Log returns the end of what a run printed, oldest line first: at least
	// LogLines lines when there are as many. It is empty when nothing was
	// printed or nothing is kept.
	Log(ctx context.Context, o Observation) ([]string, error)
	// DeleteRun removes a build's run and leaves its inputs, for a further try. Of
	// a run with parts it removes those that the Observation has.
	DeleteRun(ctx context.Context, o Observation) error
	// Abandon removes the object of a run that was asked to go and does not,
	// although nobody confirms that it has stopped.
	Abandon(ctx context.Context, o Observation) error
	// Remove removes all of a build.
	Remove(ctx context.Context, o Observation) error
}

// LogLines is how many lines of a run's output Log returns at least.
const LogLines = 200

// Phase is how far a run has come.
type Phase string

// Phases in the order of a run.
const (
	// PhaseNone: inputs exist, a run does not.
	PhaseNone Phase = ""
	// PhasePending: the run waits for a node, an image or a volume.
	PhasePending Phase = "Pending"
	// PhasePreparing: images are pulled; no step has run.
	PhasePreparing Phase = "Preparing"
	PhaseRunning   Phase = "Running"
	PhaseSucceeded Phase = "Succeeded"
	// PhaseFailed: the build itself failed.
	PhaseFailed Phase = "Failed"
	// PhaseInterrupted: the run ended through no fault of its content, as by
	// eviction or the loss of its node.
	PhaseInterrupted Phase = "Interrupted"
)

// Active is true while a run may still do something.
func (p Phase) Active() bool {
	return p == PhasePending || p == PhasePreparing || p == PhaseRunning
}

// Observation is all that exists of one build.
type Observation struct {
	Pool           buildspec.Pool
	RenderedConfig string
	// Builder is the back-end that builds, one of the api.Builder values.
	Builder string
	// ID is the inputs hash that every part of the build was made for; empty
	// when parts disagree.
	ID           string
	Attempt      int
	RebuildToken string
	Changes      []string
	// Object names the run as users would give it to kubectl: pod/build-…. Of
	// several parts it names those that the phase is about, separated by commas.
	Object string
	// UID of the run; empty without one.
	UID types.UID
	// Gone is the UID of the run that was started last, where it exists no more and the
	// back-end can tell.
	Gone  types.UID
	Phase Phase
	// Parts are the objects of a run that has one for each architecture, as far as
	// they exist; none where it is one object.
	Parts []Part
	// Incomplete is true of an active run that has not all of its parts: Start makes
	// those that are missing.
	Incomplete bool
	// Deleting is true once any part has been asked to go.
	Deleting bool
	// RunDeleting is true when the run was asked to go and its inputs were not:
	// DeleteRun does that, and so does anybody who deletes or evicts the run.
	RunDeleting bool
	// GoneBy is when a run that was asked to go should be gone; zero otherwise.
	GoneBy time.Time
	// Result is what a run that ended reports of itself; its digest is to be
	// confirmed.
	Result buildspec.Result
	// Reason and Message say why a pending run waits or how a run ended.
	// Reason is a condition reason of pkg/api.
	Reason  string
	Message string
	Log     []string
	// Created, Started and Finished are zero while they have not happened.
	Created, Started, Finished time.Time
	// Timeout is what the run was given for its time; zero for no limit, or without one.
	Timeout time.Duration
}

// Part is one object of a run that has several.
type Part struct {
	// Object and UID are as in Observation, of this one.
	Object       string
	UID          types.UID
	Architecture string
	// Runs is true while it may still do something and was not asked to go.
	Runs bool
}

// ForeignObjectError says that a name which a build needs is taken.
type ForeignObjectError struct {
	Object string // kind/name
	Why    string
	// Going: it will be gone soon, by itself.
	Going bool
}

func (e *ForeignObjectError) Error() string {
	message := e.Object + " exists but is not this build's: " + e.Why
	if !e.Going {
		message += "; delete it if it stays"
	}
	return message
}
