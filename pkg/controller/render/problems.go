package render

import (
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
	"github.com/machine-os-builder/machine-os-builder/pkg/ignition"
	"github.com/machine-os-builder/machine-os-builder/pkg/poolstatus"
	"github.com/machine-os-builder/machine-os-builder/pkg/render"
)

// How soon to look again at a MachineConfig in the way that goes, and at what
// only a user can mend and no watch tells of.
const (
	goingPoll   = 2 * time.Second
	refusedPoll = time.Minute
)

// errCreating begins the error of a rendered config that was not created.
var errCreating = errors.New("creating rendered config")

// sortOut tells what a user has to know from what is only tried again; some is both.
func sortOut(err error) (problem *poolstatus.Problem, after time.Duration, again error) {
	var taken *render.TakenError
	var refusal *render.Refusal
	switch {
	case errors.Is(err, ignition.ErrNoConverter):
		return &poolstatus.Problem{
			Reason:  api.ReasonCannotConvertMachineConfig,
			Message: err.Error() + "; it is tried again: write spec.config in Ignition spec 3, or take away the label by which the pool selects it",
		}, 0, err
	case tooLarge(err):
		refusal, after = &render.Refusal{Reason: api.ReasonCannotCreateRenderedConfig, Message: err.Error() + ": make the MachineConfigs of the pool smaller or fewer"}, refusedPoll
	case refusedByServer(err):
		refusal, after = &render.Refusal{Reason: api.ReasonRequestRefused, Message: err.Error() + ": grant the right, or allow what refuses it"}, refusedPoll
		if errors.Is(err, errCreating) {
			refusal.Reason = api.ReasonCannotCreateRenderedConfig
		}
	case errors.As(err, &taken):
		refusal = taken.Refusal()
		if taken.Passing {
			after = goingPoll
		}
	case !errors.As(err, &refusal):
		return nil, 0, err
	}
	return &poolstatus.Problem{Reason: refusal.Reason, Message: refusal.Message}, after, nil
}

// refusedByServer is true for what rights, a schema or admission refuse; what a
// webhook refuses without saying how is a bad request.
func refusedByServer(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// tooLarge is true for a rendered config that the API server has no room for.
func tooLarge(err error) bool {
	if apierrors.IsRequestEntityTooLargeError(err) {
		return true
	}
	// That etcd takes no object of this size has no reason of its own in the API.
	return apierrors.IsInternalError(err) && (strings.Contains(err.Error(), "request is too large") || strings.Contains(err.Error(), "larger than max"))
}
